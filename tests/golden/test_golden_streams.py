"""Compressed streams of every released version stay readable, and today's are still written byte for byte."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.compressing.clip_streams import restore_clips
from bitmill.pipeline.compressing.shard_streams import restore_shard
from bitmill.schemas.stream.compressed import CompressedStream
from tests.golden.make_streams import GEOMETRIES, codes_of, fixed_prior, streams_1, streams_3

FOLDER = Path(__file__).parent / "bmz1"
FOLDER_3 = FOLDER.parent / "bmz3"


@pytest.mark.parametrize("name", ["counts.bmz", "prior.bmz"])
def test_golden_streams_are_read_as_ever(name):
    stream = CompressedStream((FOLDER / name).read_bytes(), origin=name)
    header = stream.header
    assert (header.fps, header.source_height, header.source_width, header.lanes) == (12.5, 480, 640, 2)
    clips = list(restore_clips(stream, fixed_prior(), origin=name))
    expected = json.loads((FOLDER / "expected.json").read_text())["clips"]
    found = [
        ["".join("01"[bit] for bit in token) for token in clip.codes.reshape(-1, 6).tolist()]
        for clip in clips
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("bmz1/shard.bmz", "v3/shard.parquet"),
        ("bmz2/shard.bmz", "v5/shard.parquet"),
        ("bmz2/digits-shard.bmz", "v5/digits.parquet"),
        ("bmz3/shard.bmz", "v5/shard.parquet"),
        ("bmz3/digits-shard.bmz", "v5/digits.parquet"),
    ],
)
def test_a_golden_shard_is_read_as_ever(tmp_path, name, shard):
    stream = CompressedStream((FOLDER.parent / name).read_bytes(), origin="shard.bmz")
    restore_shard(stream, None, tmp_path / "a.parquet", origin="shard.bmz", salvage=False)
    again, was = pq.read_table(tmp_path / "a.parquet"), pq.read_table(FOLDER.parent / shard)
    assert again.to_pylist() == was.to_pylist()


@pytest.mark.parametrize("name", ["counts.bmz", "prior.bmz", "shard.bmz"])
def test_streams_are_written_as_ever(name):
    assert streams_1()[name] == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_golden_streams_of_any_geometry_are_read_as_ever(name, version):
    data = (FOLDER.parent / f"bmz{version}" / f"{name}.bmz").read_bytes()
    stream = CompressedStream(data, origin=name)
    geometry = GEOMETRIES[name]
    assert (data[3], stream.header.geometry) == (version, geometry)
    for clip in restore_clips(stream, None, origin=name):
        assert clip.place.num_frames == max(1, geometry.frames_of_rows(clip.place.num_rows) - 1)
        assert np.array_equal(clip.codes, codes_of(geometry, clip.place.num_rows))


@pytest.mark.parametrize("name", [*GEOMETRIES, "shard", "digits-shard"])
def test_streams_of_version_3_are_written_as_ever(name):
    assert streams_3()[f"{name}.bmz"] == (FOLDER_3 / f"{name}.bmz").read_bytes()
