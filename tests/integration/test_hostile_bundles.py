"""Of small sources that share a decoding task, one that crashes, hangs or eats memory costs only itself."""

import numpy as np
import pytest
from PIL import Image

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.isolation.source_bundles import bundled
from bitmill.pipeline.storage import Folder
from tests.integration.test_hostile_decoders import HOSTILE
from tests.support.commands import bitmill, stored_files

pytestmark = pytest.mark.ray

_LAST = 69
"""Fewer pictures would not share tasks."""

TROUBLE = {
    13: ("crash", "decoder_crashed"),
    14: ("hang", "decode_timeout"),
    50: ("hungry", "out_of_memory"),
    _LAST: ("crash", "decoder_crashed"),
}


_OPTIONS = (
    *("--tokenizer", "tiny"),
    *("--set", "limits.item_timeout_s=15", "--set", "limits.item_memory_bytes=1000000000"),
)


def test_each_costs_exactly_itself(tokenize, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOSTILE)
    media = tmp_path / "media"
    media.mkdir()
    for number in range(_LAST + 1):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        name = TROUBLE[number][0] if number in TROUBLE else "fine"
        Image.fromarray(pixels).save(media / f"{number:03d}-{name}.png")
    words = ("tokenize", str(media), str(tmp_path / "tokens"), *_OPTIONS)
    done = bitmill(*words, extra={"PYTHONPATH": str(tmp_path / "site")})
    assert done.code == 3, done.err
    assert done.err == ""
    folder = Folder(str(tmp_path / "tokens"))
    (shard,) = load_plan(folder, require_card(folder))
    assert max(len(bundle.sources) for bundle in bundled(shard.sources)) > 1
    rows = load_ledger(folder, shard.shard_id)
    # Each picture came before its trouble, and is kept.
    assert [(row["num_clips"], row["reason"]) for row in rows] == [
        (1, TROUBLE[number][1] if number in TROUBLE else None) for number in range(_LAST + 1)
    ]
    # Without trouble the tokens are the same.
    assert tokenize(str(media), str(tmp_path / "calm"), *_OPTIONS).code == 0
    calm = {name: data for name, data in stored_files(tmp_path / "calm").items() if "shards/" in name}
    assert calm
    assert calm.items() <= stored_files(tmp_path / "tokens").items()
