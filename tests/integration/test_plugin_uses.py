"""Whatever is done with tokens is done with those of plugins: two toys, of digits and of an index."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bitmill.bsq_model.numerics import set_numerics
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.reading import Padding, TokenBatches, TokenDataset
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.support.commands import bitmill
from tests.support.toy_plugins.bitmill_toys.image import ToyImage
from tests.support.toy_plugins.bitmill_toys.video import ToyVideo
from tests.support.toys import (
    VIDEO_FRAMES,
    bitmill_with_toys,
    install_toys,
    make_media,
    tokenize_here,
    toy_job,
)

GEOMETRIES = {"toy-video": ToyVideo.geometry, "toy-image": ToyImage.geometry}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = install_toys(tmp_path_factory.mktemp("toys") / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module", params=["toy-video", "toy-image"])
def dataset(request: pytest.FixtureRequest, toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job whose ``tokens`` are complete; made in this process."""
    folder = tmp_path_factory.mktemp("uses")
    job = toy_job(folder, make_media(folder / "media"), request.param, compute={"device": "cpu"})
    tokenize_here(job, toys)
    return folder


def _geometry(dataset: Path) -> Geometry:
    return GEOMETRIES[json.loads((dataset / "job.yaml").read_text())["tokenizer"]["plugin"]]


def _stored(dataset: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Digits [t, h, w, D] and indices [t, h, w] of each clip, without the reader."""
    code = _geometry(dataset).code
    weights = np.cumprod([1, *code.bases[:-1]])
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for path in (dataset / "tokens" / "shards").iterdir():
        for row in pq.read_table(path).to_pylist():
            shape = row["num_frames"], row["height"], row["width"]
            codes_ND = unpack_codes(row["codes"], int(np.prod(shape)), code)
            indices_N = (codes_ND * weights).sum(1)
            found[row["clip_id"]] = codes_ND.reshape(*shape, -1), indices_N.reshape(shape)
    return found


@pytest.mark.parametrize("dataset", ["toy-image"], indirect=True)
def test_an_image_tokenizer_takes_every_frame_as_a_picture(dataset):
    tables = [pq.read_table(path) for path in sorted((dataset / "tokens" / "shards").iterdir())]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == sum(VIDEO_FRAMES.values()) + 1
    assert {(row["num_frames"], row["height"], row["width"]) for row in rows} == {(1, 3, 3)}
    photo = dataset / "media" / "photo.jpg"
    (row,) = (row for row in rows if row["source"] == str(photo))
    events = decode_item(
        str(photo),
        span_ns=(None, None),
        sampling=SamplingSpec(clip_frames=1),
        sizes=squares(48),
        limits=LimitsSpec(),
        pixel_rule=2,
    )
    (clip,) = (event for event in events if isinstance(event, DecodedClip))
    expected = ToyImage().encode([torch.from_numpy(clip.frames_THWC)])[0]
    assert unpack_codes(row["codes"], 9, ToyImage.geometry.code).tolist() == expected.flatten(0, 2).tolist()


def test_int8_is_for_bsq_vit():
    with pytest.raises(UsageError, match="dtype int8 is for BSQ-ViT; use float32 or bfloat16"):
        set_numerics(ToyVideo(), "int8", "cpu")


def test_every_view_gives_what_is_stored(dataset):
    stored, geometry = _stored(dataset), _geometry(dataset)
    views: dict[str, Any] = {"digits": lambda digits, _: digits, "integers": lambda _, index: index}
    if geometry.code.kind == "digits":
        half = np.array(geometry.code.bases) // 2
        views["values"] = lambda digits, _: ((digits - half) / half).astype(np.float32)
    for view, expected in views.items():
        clips = TokenDataset(dataset / "tokens", view=view, columns=("clip_id", "num_real_frames"))
        seen = [(clip["clip_id"], clip["tokens"].numpy()) for clip in clips]
        seen += [(clips[n]["clip_id"], clips[n]["tokens"].numpy()) for n in range(len(clips))]
        for batch in TokenBatches(clips, batch_size=2, shape=Padding(), remainder="keep", seed=3):
            kept = zip(batch["clip_id"], batch["tokens"], batch["mask"], strict=True)
            seen += [(clip_id, tokens[mask].numpy()) for clip_id, tokens, mask in kept]
        assert len(seen) == 3 * len(stored)
        assert len({clip_id for clip_id, _ in seen}) == len(stored)
        for clip_id, tokens in seen:
            np.testing.assert_array_equal(tokens, expected(*stored[clip_id]), strict=True)


@pytest.mark.slow
def test_clips_are_previewed_without_what_pads_them(dataset, toys, tmp_path):
    tokens = str(dataset / "tokens")
    done = bitmill_with_toys(toys, "preview", tokens, "--out", str(tmp_path / "a.mp4"))
    assert (done.code, "PSNR of decoded against original" in done.out) == (0, True), done.err
    with av.open(str(tmp_path / "a.mp4")) as video:
        shown = sum(1 for _ in video.decode(video=0))
    clips = TokenDataset(tokens, view="packed", columns=("num_real_frames", "start_ns", "end_ns"))
    # The first eight; an image is shown for a second, at 8 frames a second where there is no other rate.
    lengths = [8 if clip["start_ns"] == clip["end_ns"] else clip["num_real_frames"] for clip in clips][:8]
    assert shown == sum(lengths)
    without = bitmill("preview", tokens, "--out", str(tmp_path / "b.png"))
    assert (without.code, "install bitmill-toys 1.0" in without.err) == (2, True)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.slow
def test_its_audit_finds_it_sound_and_tokenizes_it_again(dataset, toys, tmp_path):
    tokens = str(dataset / "tokens")
    words = ("audit", tokens, "--out", str(tmp_path / "audit"), "--check-source", "--workers", "1")
    done = bitmill_with_toys(toys, *words)
    assert done.code == 0, done.out + done.err
    report = json.loads((tmp_path / "audit" / "audit.json").read_text())
    sample = report["sample"]
    assert (report["verdict"], sample["differing_bits"]) == ("sound", 0)
    assert sample["compared"] == min(16, len(_stored(dataset)))
    without = bitmill("audit", tokens)
    assert without.code == 0, without.out + without.err
    assert "install bitmill-toys 1.0" in without.out


@pytest.mark.parametrize(("to", "workers"), [("webdataset", 1), ("bin", 2), ("huggingface", 1)])
def test_its_exports_hold_the_published_indices(dataset, tmp_path, to, workers):
    """On a machine where the plugin is not installed."""
    words = ("export", str(dataset / "tokens"), str(tmp_path / "out"), "--to", to)
    done = bitmill(*words, "--workers", str(workers))
    assert done.code == 0, done.err
    indices = {clip_id: index for clip_id, (_, index) in _stored(dataset).items()}
    for clip_id, tokens in _exported(tmp_path / "out", to):
        np.testing.assert_array_equal(tokens, indices.pop(clip_id))
    assert not indices


def _exported(out: Path, to: str) -> Iterator[tuple[str, np.ndarray]]:
    if to == "webdataset":
        for path in out.glob("*.tar"):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".npy"):
                        data = tar.extractfile(member)
                        assert data is not None
                        yield member.name.removesuffix(".npy"), np.load(io.BytesIO(data.read()))
        return
    if to == "huggingface":
        for path in out.rglob("*.parquet"):
            for row in pq.read_table(path).to_pylist():
                yield row["clip_id"], np.array(row["tokens"])
        return
    dtype = json.loads((out / "metadata.json").read_text())["token_dtype"]
    for row in pq.read_table(out / "index.parquet").to_pylist():
        shape = row["num_frames"], row["height"], row["width"]
        tokens = np.fromfile(out / row["file"], dtype)[row["first_token"] :][: np.prod(shape)]
        yield row["clip_id"], tokens.reshape(shape)


def test_a_shard_is_compressed_and_comes_back_byte_for_byte(dataset, tmp_path):
    shard = max((dataset / "tokens" / "shards").iterdir(), key=lambda path: path.stat().st_size)
    shutil.copy(shard, tmp_path / "a.parquet")
    done = bitmill("compress", str(tmp_path / "a.parquet"), str(tmp_path / "a.bmz"))
    assert done.code == 0, done.err
    done = bitmill("decompress", str(tmp_path / "a.bmz"), str(tmp_path / "b.parquet"))
    assert done.code == 0, done.err
    assert (tmp_path / "b.parquet").read_bytes() == shard.read_bytes()


@pytest.mark.slow
def test_a_picture_is_compressed_by_the_plugin_and_decoded_by_it(dataset, toys, tmp_path):
    plugin = json.loads((dataset / "job.yaml").read_text())["tokenizer"]["plugin"]
    words = ("--tokenizer", plugin)
    photo, stream, out = dataset / "media" / "photo.jpg", tmp_path / "a.bmz", tmp_path / "a.png"
    done = bitmill_with_toys(toys, "compress", str(photo), str(stream), *words, "--size", "48")
    assert done.code == 0, done.err
    done = bitmill_with_toys(toys, "decompress", str(stream), str(out), *words)
    assert done.code == 0, done.err
    with av.open(str(out)) as picture:
        (frame,) = (one.to_ndarray(format="rgb24") for one in picture.decode(video=0))
    stored = TokenDataset(dataset / "tokens", view="digits", columns=("source",))
    (codes,) = (clip["tokens"] for clip in stored if clip["source"] == str(photo))
    tokenizer = ToyVideo() if plugin == "toy-video" else ToyImage()
    np.testing.assert_array_equal(torch.from_numpy(frame), tokenizer.decode([codes])[0][0])
