"""Folders that ``datasets.load_dataset`` reads for real, offline, with every token and column."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.exporting.formats.huggingface import HuggingfaceFormat, nested_tokens
from bitmill.pipeline.exporting.formats.readme import readme_text
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.reports.export_inventory import (
    ExportContents,
    ExportedDataset,
    ExportFormat,
    ExportOutline,
    OutlinedFile,
)
from tests.support.datasets import make_dataset
from tests.support.exports import GEOMETRY, LENGTHS, WIDTHS, expected_tokens, export, made_clip

DTYPES = {12: "uint16", 18: "uint32", 36: "uint64", 64: "uint64"}


@pytest.fixture
def datasets(hub_cache: Path) -> ModuleType:
    """The library, which takes seconds to import, with a fresh cache."""
    import datasets

    return datasets


def _same(stored, tokens_THW) -> bool:
    """Whether 64-bit integers, signed or not, hold the same bits."""
    return np.array_equal(np.asarray(stored).view(np.uint64), tokens_THW)


@pytest.mark.parametrize("bits_per_token", WIDTHS)
def test_load_dataset_gives_every_token_and_column(datasets, tmp_path, bits_per_token):
    export(tmp_path, ExportFormat.HUGGINGFACE, bits_per_token=bits_per_token, max_bytes=200)
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train")
    expected = expected_tokens(LENGTHS, bits_per_token=bits_per_token)
    assert loaded.features["tokens"] == datasets.Array3D(shape=(None, 2, 2), dtype=DTYPES[bits_per_token])
    names = [name for name in loaded.column_names if name != "tokens"]
    rows = list(TokenDataset(str(tmp_path / "tokens"), view="packed", columns=names))
    arrays, tensors = loaded.with_format("numpy"), loaded.with_format("torch")
    assert len(loaded) == len(expected) == 10
    for number, (row, tokens_THW) in enumerate(zip(rows, expected, strict=True)):
        assert np.array_equal(np.array(loaded[number]["tokens"], dtype=np.uint64), tokens_THW)
        assert _same(arrays[number]["tokens"], tokens_THW)
        assert tensors[number]["tokens"].dtype == torch.int64
        assert _same(tensors[number]["tokens"].numpy(), tokens_THW)
        plain = {**row, "frame_pts_ns": row["frame_pts_ns"].tolist()}
        assert {name: loaded[number][name] for name in names} == {name: plain[name] for name in names}


def test_clips_of_one_shape_come_as_batches(datasets, tmp_path):
    export(tmp_path, ExportFormat.HUGGINGFACE, lengths=[[4, 4], [4]])
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train").with_format("torch")
    assert loaded.features["tokens"] == datasets.Array3D(shape=(4, 2, 2), dtype="uint32")
    batch = loaded[:3]["tokens"]
    assert batch.shape == (3, 4, 2, 2)
    expected = expected_tokens([[4, 4], [4]], bits_per_token=18)
    assert all(_same(one.numpy(), other) for one, other in zip(batch, expected, strict=True))


def test_streaming_and_plain_parquet_give_the_same(datasets, tmp_path):
    export(tmp_path, ExportFormat.HUGGINGFACE, max_bytes=200)
    expected = expected_tokens(LENGTHS, bits_per_token=18)
    files = sorted(str(path) for path in (tmp_path / "out" / "data").iterdir())
    assert len(files) == 3
    streamed = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    plain = datasets.load_dataset("parquet", data_files=files, split="train")
    for loaded in (streamed, plain):
        tokens = [np.array(row["tokens"], dtype=np.uint64) for row in loaded]
        assert all(np.array_equal(one, other) for one, other in zip(tokens, expected, strict=True))


@pytest.mark.s3
def test_load_dataset_reads_from_a_store(datasets, s3, monkeypatch):
    # Offline, datasets asks no store either; this one is here.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    make_dataset(f"{s3}/tokens", LENGTHS)
    options = {"export_format": ExportFormat.HUGGINGFACE, "max_bytes": 200}
    export_dataset(f"{s3}/tokens", f"{s3}/hub", **options)
    storage = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    loaded = datasets.load_dataset(
        "parquet", data_files=f"{s3}/hub/data/*.parquet", split="train", storage_options=storage
    )
    tokens = [np.array(row["tokens"], dtype=np.uint64) for row in loaded]
    expected = expected_tokens(LENGTHS, bits_per_token=18)
    assert all(np.array_equal(one, other) for one, other in zip(tokens, expected, strict=True))


def test_a_missing_file_is_noticed(datasets, tmp_path):
    export(tmp_path, ExportFormat.HUGGINGFACE, max_bytes=200)
    (tmp_path / "out" / "data" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError, match="num_examples=10"):
        datasets.load_dataset(str(tmp_path / "out"), split="train")


def test_other_readers_see_nested_lists(tmp_path):
    export(tmp_path, ExportFormat.HUGGINGFACE)
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    expected = [clip.tolist() for clip in expected_tokens(LENGTHS, bits_per_token=18)]
    assert frame["tokens"].to_list() == expected
    assert frame["tokens"].dtype == pl.List(pl.List(pl.List(pl.UInt32)))


def test_clips_of_several_grids_are_nested_sequences(datasets, tmp_path):
    layout = HuggingfaceFormat(GEOMETRY, 2)
    shapes = [(2, 3, 4), (1, 2, 2), (5, 1, 3)]
    clips = [made_clip(shape, seed=number) for number, shape in enumerate(shapes)]
    out = tmp_path / "out"
    (out / "data").mkdir(parents=True)
    layout.write_clips(out / layout.file_name(0, 1), iter(clips))
    outline = _outline(clips)
    text = readme_text(outline, pq.read_schema(out / layout.file_name(0, 1)), layout.tokens)
    (out / "README.md").write_text(text)
    loaded = datasets.load_dataset(str(out), split="train")
    assert loaded.features["tokens"] == datasets.List(datasets.List(datasets.List(datasets.Value("uint32"))))
    for row, clip in zip(loaded.with_format("numpy"), clips, strict=True):
        assert np.array_equal(np.array(row["tokens"]), clip.tokens)


def test_the_card_is_yaml_of_the_stored_columns(tmp_path):
    export(tmp_path, ExportFormat.HUGGINGFACE)
    text = (tmp_path / "out" / "README.md").read_text()
    card = yaml.safe_load(text.split("---")[1])
    (split,) = card["dataset_info"]["splits"]
    assert split == {"name": "train", "num_examples": 10, "num_bytes": 136 * 4}
    schema = pq.read_schema(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert [feature["name"] for feature in card["dataset_info"]["features"]] == schema.names
    assert str(tmp_path) not in text


def test_row_groups_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("bitmill.pipeline.exporting.formats.huggingface._ROW_GROUP_BYTES", 100)
    export(tmp_path, ExportFormat.HUGGINGFACE)
    (path,) = (tmp_path / "out" / "data").iterdir()
    footer = pq.ParquetFile(path).metadata
    rows = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert rows == [2, 3, 2, 2, 1]
    tokens = [np.array(clip, dtype=np.uint64) for clip in pq.read_table(path)["tokens"].to_pylist()]
    expected = expected_tokens(LENGTHS, bits_per_token=18)
    assert all(np.array_equal(one, other) for one, other in zip(tokens, expected, strict=True))


def test_nested_tokens_are_the_clips():
    clips = [made_clip(shape, seed=7).tokens for shape in [(1, 1, 1), (2, 3, 1), (1, 2, 5)]]
    kind = pa.list_(pa.list_(pa.list_(pa.uint32())))
    array = nested_tokens(clips, kind)
    assert array.type == kind
    assert array.to_pylist() == [clip.tolist() for clip in clips]


def _outline(clips) -> ExportOutline:
    frames = sum(clip.columns["num_frames"] for clip in clips)
    tokens = sum(clip.num_tokens for clip in clips)
    return ExportOutline(
        format_version=2,
        form=ExportFormat.HUGGINGFACE,
        max_bytes=1,
        dataset=ExportedDataset(
            content_id="c",
            tokenizer_fingerprint="t",
            bits_per_token=18,
            geometry=GEOMETRY,
            num_shards=1,
            planned_shards=1,
        ),
        contents=ExportContents(
            clips=len(clips), frames=frames, tokens=tokens, shape_THW=(None, None, None), fps=None
        ),
        files=[
            OutlinedFile(name="x", first_clip=0, num_clips=len(clips), num_frames=frames, num_tokens=tokens)
        ],
    )
