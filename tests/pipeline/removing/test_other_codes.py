"""Takedown from datasets of any code and version: shards and ledgers as if the clips had never been."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.dataset.dataset_folder import load_ledger
from bitmill.schemas.dataset.token_shard import read_shard_metadata
from bitmill.schemas.requests.job import ShardVersion
from tests.support.audits import AuditedDataset, sound_dataset
from tests.support.coded_datasets import GEOMETRIES, coded_dataset, mixed_dataset
from tests.support.fakes import make_source
from tests.support.removals import asked, take_down

_COUNTS = ("num_clips", "num_frames", "num_tokens", "code_bytes")


def counts_of(dataset: AuditedDataset) -> tuple[int, ...]:
    """Sums over the ledgers."""
    rows = [row for shard in dataset.plan for row in load_ledger(dataset.folder, shard.shard_id)]
    return tuple(sum(row[name] for row in rows) for name in _COUNTS)


def stored_counts(dataset: AuditedDataset) -> tuple[int, ...]:
    """What the shards have, by their own metadata."""
    clips = frames = tokens = code_bytes = 0
    for number in range(len(dataset.plan)):
        table = pq.read_table(dataset.shard(number))
        schedules = read_shard_metadata(table.schema, origin="it").schedules
        for row in table.to_pylist():
            grids = [(row["num_frames"], row["height"], row["width"])]
            if schedules is not None:
                grids = schedules[f"{row['height']}x{row['width']}"]
            clips += 1
            frames += len(row["frame_pts_ns"])
            tokens += sum(t * h * w for t, h, w in grids)
            code_bytes += len(row["codes"])
    return clips, frames, tokens, code_bytes


def check_removal(dataset: AuditedDataset) -> None:
    """Take down a clip and a source, and hold what is left to its own counts, its version and an audit."""
    versions = [pq.read_schema(dataset.shard(number)) for number in range(len(dataset.plan))]
    before = counts_of(dataset)
    ids = [clip_id for group, _ in dataset.stored(0) for clip_id in group]
    assert take_down(dataset.folder, asked(make_source(3).uri, clips=(ids[1],))) is not None
    assert counts_of(dataset) == stored_counts(dataset)
    assert all(left < had for left, had in zip(counts_of(dataset), before, strict=True))
    assert [pq.read_schema(dataset.shard(number)) for number in range(len(dataset.plan))] == versions
    report = dataset.audit()
    assert report.findings == []
    assert report.removals >= 2
    totals: Any = dataset.card.totals
    assert (totals.clips, totals.frames, totals.tokens, totals.code_bytes) == counts_of(dataset)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_of_any_code(tmp_path: Path, name: str):
    check_removal(coded_dataset(tmp_path / "tokens", GEOMETRIES[name]))


def test_of_several_frame_sizes(tmp_path: Path):
    dataset = mixed_dataset(tmp_path / "tokens")
    before = {(size.height_px, size.width_px): size.clips for size in dataset.audit().coverage.sizes}
    check_removal(dataset)
    after = {(size.height_px, size.width_px): size.clips for size in dataset.audit().coverage.sizes}
    # One of the first source's wide clips, and the fourth source, which is wide too.
    assert before == {(32, 48): 5, (48, 32): 3, (32, 32): 3}
    assert after == {(32, 48): 2, (48, 32): 3, (32, 32): 3}


@pytest.mark.parametrize("version", [1, 2])
def test_of_any_version(tmp_path: Path, version: ShardVersion):
    dataset = sound_dataset(tmp_path / "tokens", shard_version=version)
    has_dropped = "num_dropped_frames" in load_ledger(dataset.folder, dataset.plan[0].shard_id)[0]
    assert has_dropped == (version == 2)
    check_removal(dataset)
    assert ("num_dropped_frames" in load_ledger(dataset.folder, dataset.plan[0].shard_id)[0]) == has_dropped
