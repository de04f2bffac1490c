"""The bundled tokenizer's recipe: its data are read safely, split cleanly, and told in full."""

import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitmill.bsq_model.bundled import BUNDLED
from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.schemas.requests.training import load_train_spec
from examples.small_tokenizer.attribution import attribution
from examples.small_tokenizer.fetch_data import DEBIAN, photo_target, read_photos
from examples.small_tokenizer.motion_clips import write_clip
from examples.small_tokenizer.rcc import RccError, read_files
from tests.support.media import real_pictures

_RECIPE = Path("examples/small_tokenizer")


def _rcc(files: dict[str, bytes], *, compress: bool = False) -> bytes:
    """A resource file with one folder ``d`` of files."""
    names, offsets, contents, places = b"", {}, b"", {}
    for name in ("d", *files):
        offsets[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    for name, data in files.items():
        places[name] = len(contents)
        packed = struct.pack(">I", len(data)) + zlib.compress(data) if compress else data
        contents += struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHIIq", 0, 2, 1, 1, 0) + struct.pack(">IHIIq", offsets["d"], 2, len(files), 2, 0)
    for name in files:
        tree += struct.pack(">IHHHIq", offsets[name], int(compress), 0, 0, places[name], 0)
    head = b"qres" + struct.pack(">IIII", 2, 20, 20 + len(tree), 20 + len(tree) + len(contents))
    return head + tree + contents + names


@pytest.mark.parametrize("compress", [False, True])
def test_a_resource_file_gives_its_files(compress):
    files = {"a.webp": b"one", "b.jpg": b"two" * 1000}
    assert dict(read_files(_rcc(files, compress=compress))) == {
        f"d/{name}": data for name, data in files.items()
    }


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_resource_file_is_refused_or_read_and_never_crashes(place, value):
    data = bytearray(_rcc({"a.webp": b"one" * 20, "b.jpg": b"two" * 30}, compress=True))
    data[place % len(data)] = value
    for damaged in (bytes(data), bytes(data[: place % len(data)])):
        with suppress(RccError):
            list(read_files(damaged))


def test_names_that_climb_out_of_a_folder_are_refused():
    data = _rcc({"ab": b"x"}).replace("ab".encode("utf-16-be"), "..".encode("utf-16-be"))
    with pytest.raises(RccError, match="is no name"):
        list(read_files(data))


def test_no_folder_or_series_stands_on_both_sides():
    sides: dict[str, set[str]] = {}
    for row in read_photos():
        folder, name = row["path"].rsplit("/", 1)
        # The landscapes lie in one folder; a series shares its name up to the number.
        series = name.split(".")[0].rstrip("0123456789") if folder.endswith("land") else ""
        if row["split"] != "unused":
            sides.setdefault(f"{folder}/{series}", set()).add(row["split"])
    assert {side for split in sides.values() for side in split} == {"train", "validation", "held-out"}
    assert [name for name, split in sides.items() if len(split) > 1] == []


def test_every_photograph_may_be_used_and_has_a_place_of_its_own():
    rows = [row for row in read_photos() if row["split"] != "unused"]
    assert {row["licence"] for row in rows} == {"public domain", "CC0-1.0"}
    assert {row["package"] for row in rows} <= {package.name for package in DEBIAN}
    targets = [photo_target(Path("x"), row) for row in rows]
    assert len(set(targets)) == len(rows) > 400


def test_the_attribution_beside_the_weights_is_the_tables():
    for name in BUNDLED:
        beside = Path(f"bsq_model/bundled/{name}/ATTRIBUTION.md").read_text(encoding="utf-8")
        assert beside == attribution(name)


def test_both_stages_are_one_model():
    image, video = (
        load_train_spec((_RECIPE / name).read_text(), origin=name) for name in ("image.yaml", "video.yaml")
    )
    assert video.start_from == f"{image.output}/tokenizer"
    assert video.model.model_copy(update={"num_frames": 1}) == image.model


def test_the_successors_recipe_is_a_training_file_for_a_file_of_less_than_16_mb():
    spec = load_train_spec((_RECIPE / "causal_conv.yaml").read_text(), origin="causal_conv.yaml")
    tokenizer = start_tokenizer(spec.model, seed=0, start=None)
    # Of two bytes each.
    assert sum(weight.numel() for weight in tokenizer.parameters()) < 8_000_000
    assert spec.model.geometry.code.bits_per_token / 64 <= 0.2813


@pytest.mark.slow
def test_a_clip_with_cuts_is_made_the_same_each_time(tmp_path):
    photos = [tmp_path / f"{number}.webp" for number in range(4)]
    for path, picture in zip(photos, real_pictures(4, 160, 200), strict=True):
        Image.fromarray(picture).save(path, lossless=True)
    frames: list[list[np.ndarray]] = []
    for name in ("one.mp4", "two.mp4"):
        write_clip(tmp_path / name, photos, random.Random(1))
        with av.open(str(tmp_path / name)) as container:
            frames.append([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(*frames)
    assert np.shape(frames[0]) == (240, 192, 288, 3)
    steps = [
        np.abs(one.astype(int) - other).mean() for one, other in zip(frames[0], frames[0][1:], strict=False)
    ]
    # Scenes last 4 to 36 frames; within one, most of the picture stays or moves a little.
    assert 240 / 36 < sum(step > 30 for step in steps) < 240 / 4
    assert np.median(steps) < 15
