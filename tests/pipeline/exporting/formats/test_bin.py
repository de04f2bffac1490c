"""Flat files, read as their loaders read them: one memory map, an index, numbers of segments."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.exporting.formats.bin import MOST_CLIPS, BinFormat
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.export_inventory import BinMetadata, ExportContents, ExportFormat
from tests.support.exports import GEOMETRY, LENGTHS, WIDTHS, expected_tokens, export

DTYPES = {12: "uint16", 18: "uint32", 36: "uint64", 64: "uint64"}


@pytest.mark.parametrize("bits_per_token", WIDTHS)
def test_the_index_leads_to_every_token(tmp_path, bits_per_token):
    export(tmp_path, ExportFormat.BIN, bits_per_token=bits_per_token, max_bytes=200)
    out = tmp_path / "out"
    metadata = json.loads((out / "metadata.json").read_text())
    assert metadata["token_dtype"] == DTYPES[bits_per_token]
    rows = pq.read_table(out / "index.parquet").to_pylist()
    columns = [name for name in rows[0] if name not in ("file", "first_token", "num_tokens")]
    dataset = list(TokenDataset(str(tmp_path / "tokens"), view="packed", columns=columns))
    expected = expected_tokens(LENGTHS, bits_per_token=bits_per_token)
    assert len({row["file"] for row in rows}) > 1
    for row, sample, tokens_THW in zip(rows, dataset, expected, strict=True):
        flat = np.memmap(out / row["file"], dtype=metadata["token_dtype"], mode="r")
        shape = row["num_frames"], row["height"], row["width"]
        stored = flat[row["first_token"] : row["first_token"] + np.prod(shape)].reshape(shape)
        assert np.array_equal(stored, tokens_THW)
        sample["frame_pts_ns"] = sample["frame_pts_ns"].tolist()
        assert {name: sample[name] for name in columns} == {name: row[name] for name in columns}


@pytest.mark.parametrize("max_bytes", [1, 100, 1 << 20])
def test_files_end_to_end_are_all_tokens_in_order(tmp_path, max_bytes):
    result = export(tmp_path, ExportFormat.BIN, bits_per_token=12, max_bytes=max_bytes)
    names = [file.name for file in result.inventory.files if file.num_clips]
    assert names == sorted(names)
    data = b"".join((tmp_path / "out" / name).read_bytes() for name in names)
    expected = np.concatenate([clip.reshape(-1) for clip in expected_tokens(LENGTHS, bits_per_token=12)])
    assert np.array_equal(np.frombuffer(data, "<u2"), expected)
    assert all(
        file.size_bytes <= max_bytes or file.num_clips == 1
        for file in result.inventory.files
        if file.num_clips
    )


def test_a_loader_of_windows_stays_in_one_clip(tmp_path):
    """As the loaders of the 1X world-model challenge do: frames by segment ids, one memory map."""
    export(tmp_path, ExportFormat.BIN)
    out = tmp_path / "out"
    metadata = json.loads((out / "metadata.json").read_text())
    side, count = metadata["s"], metadata["num_images"]
    frames_NHW = np.memmap(
        out / "tokens-00000.bin", dtype=metadata["token_dtype"], mode="r", shape=(count, side, side)
    )
    segments_N = np.memmap(out / "segment_ids.bin", dtype=np.int32, mode="r", shape=(count,))
    window = 3
    starts = [n for n in range(count - window + 1) if segments_N[n] == segments_N[n + window - 1]]
    expected = expected_tokens(LENGTHS, bits_per_token=18)
    wanted = [clip[n : n + window] for clip in expected for n in range(len(clip) - window + 1)]
    assert len(starts) == len(wanted) == 15
    for start, tokens_THW in zip(starts, wanted, strict=True):
        assert np.array_equal(frames_NHW[start : start + window], tokens_THW)


def test_metadata_tells_shape_rate_and_files(tmp_path):
    export(tmp_path, ExportFormat.BIN, max_bytes=300)
    metadata = BinMetadata.model_validate_json((tmp_path / "out" / "metadata.json").read_bytes())
    assert (metadata.s, metadata.h, metadata.w, metadata.hz) == (2, 2, 2, 8.0)
    assert (metadata.vocab_size, metadata.num_images, metadata.num_clips) == (2**18, 34, 10)
    assert sum(file.num_images for file in metadata.files) == 34
    assert sum(file.num_tokens for file in metadata.files) == metadata.num_tokens == 136
    for file in metadata.files:
        assert (tmp_path / "out" / file.name).stat().st_size == 4 * file.num_tokens


def test_the_vocabulary_of_64_bits_is_told_exactly(tmp_path):
    export(tmp_path, ExportFormat.BIN, bits_per_token=64)
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["vocab_size"] == 2**64


def test_more_clips_than_numbers_are_refused():
    contents = ExportContents(clips=MOST_CLIPS, frames=1, tokens=1, shape_THW=(1, 1, 1), fps=None)
    layout = BinFormat(GEOMETRY, 2)
    layout.check(contents)
    with pytest.raises(UsageError, match="numbers clips in int32, so it supports at most 2,147,483,647"):
        layout.check(contents.model_copy(update={"clips": MOST_CLIPS + 1}))
