"""Compressed streams of every released version stay readable, and today's are still written byte for byte."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.compressing.clip_streams import restore_clips
from bitmill.pipeline.compressing.shard_streams import restore_shard
from bitmill.schemas.stream.compressed import CompressedStream
from tests.golden.make_streams import fixed_prior, streams

FOLDER = Path(__file__).parent / "bmz1"


@pytest.mark.parametrize("name", ["counts.bmz", "prior.bmz"])
def test_golden_streams_are_read_as_ever(name):
    stream = CompressedStream((FOLDER / name).read_bytes(), origin=name)
    header = stream.header
    assert (header.fps, header.source_height, header.source_width, header.lanes) == (12.5, 480, 640, 2)
    clips = list(restore_clips(stream, fixed_prior(), origin=name))
    expected = json.loads((FOLDER / "expected.json").read_text())["clips"]
    found = [
        ["".join("01"[bit] for bit in token) for token in clip.bits_ThwL.reshape(-1, 6).tolist()]
        for clip in clips
    ]
    assert found == expected


def test_a_golden_shard_is_read_as_ever(tmp_path):
    stream = CompressedStream((FOLDER / "shard.bmz").read_bytes(), origin="shard.bmz")
    restore_shard(stream, None, tmp_path / "a.parquet", origin="shard.bmz", salvage=False)
    again, was = pq.read_table(tmp_path / "a.parquet"), pq.read_table(FOLDER.parent / "v3" / "shard.parquet")
    assert again.to_pylist() == was.to_pylist()


@pytest.mark.parametrize("name", ["counts.bmz", "prior.bmz", "shard.bmz"])
def test_streams_are_written_as_ever(name):
    assert streams()[name] == (FOLDER / name).read_bytes()
