"""Clips of several frame sizes: each format's files alone give every grid, token and real time of a row."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.reports.export_inventory import INVENTORY_FILE, ExportFormat
from tests.support.coded_datasets import GEOMETRIES, MIXED, mixed_dataset

Read = Iterator[tuple[Mapping[str, Any], Any]]


@pytest.fixture(scope="module", params=["digits", "bits, least first"])
def tokens(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("mixed") / "tokens"
    mixed_dataset(path, request.param)
    return path, request.param


def read_webdataset(out: Path) -> Read:
    tars = sorted(str(path) for path in out.glob("*.tar"))
    for sample in webdataset.WebDataset(tars, shardshuffle=False).decode():
        yield sample["json"], sample["npy"]


def read_bin(out: Path) -> Read:
    metadata = json.loads((out / "metadata.json").read_text())
    assert metadata["s"] is metadata["h"] is metadata["w"] is None
    for clip in pq.read_table(out / "index.parquet").to_pylist():
        flat = np.memmap(out / clip["file"], dtype=metadata["token_dtype"], mode="r")
        shape = clip["num_frames"], clip["height"], clip["width"]
        yield clip, flat[clip["first_token"] :][: clip["num_tokens"]].reshape(shape)


def read_hub(out: Path) -> Read:
    import datasets

    for clip in datasets.load_dataset(str(out), split="train").with_format("torch"):
        plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in clip.items()}
        yield plain, clip["tokens"].numpy()


READ = {
    ExportFormat.WEBDATASET: read_webdataset,
    ExportFormat.BIN: read_bin,
    ExportFormat.HUGGINGFACE: read_hub,
}


@pytest.mark.parametrize("form", ExportFormat)
@pytest.mark.usefixtures("hub_cache")
def test_grids_tokens_and_times_come_back(tmp_path: Path, tokens: tuple[Path, str], form: ExportFormat):
    path, name = tokens
    export_dataset(str(path), str(tmp_path / "out"), export_format=form, max_bytes=4000)
    stored = json.loads((tmp_path / "out" / INVENTORY_FILE).read_text())["dataset"]["geometry"]
    columns = ("clip_id", "frame_pts_ns", "num_frames", "height", "width")
    dataset = list(TokenDataset(path, view="integers", columns=columns))
    read = list(READ[form](tmp_path / "out"))
    sizes: set[tuple[int, int]] = set()
    for sample, (clip, exported) in zip(dataset, read, strict=True):
        assert clip["clip_id"] == sample["clip_id"]
        assert exported.shape == (clip["num_frames"], clip["height"], clip["width"])
        assert np.array_equal(exported, sample["tokens"].numpy())
        sizes.add((clip["height"] * stored["patch_px"][0], clip["width"] * stored["patch_px"][1]))
        # A lead frame has a row of its own, then each row covers s frames; all real ones have their time.
        spans, times = [], list(sample["frame_pts_ns"].tolist())
        for row in range(clip["num_frames"]):
            is_lead = row < clip["lead_frames"]
            count = 1 if is_lead else stored["frames_per_token"]
            spans.append(times[:count])
            times = times[count:]
        assert times == []
        assert sum(map(len, spans)) == clip["num_real_frames"]
        assert row_times(clip, stored["frames_per_token"]) == spans
    assert sizes == set(MIXED)
    if form is ExportFormat.HUGGINGFACE:
        text = (tmp_path / "out" / "README.md").read_text()
        assert "Clips have several grids" in text
        assert ("max(0, l + (r - l) * 4)" in text) == (GEOMETRIES[name].frames_per_token == 4)


def row_times(clip: Mapping[str, Any], s: int) -> list[list[int]]:
    """As docs/export.md has it."""
    lead, times = clip["lead_frames"], clip["frame_pts_ns"]
    starts = [max(0, lead + (row - lead) * s) for row in range(clip["num_frames"] + 1)]
    return [times[start:end] for start, end in pairwise(starts)]
