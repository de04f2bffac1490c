"""Reads and writes plan files: one Parquet table per part of the plan."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from bitmill.pipeline.dataset.parquet_tables import column_bytes, read_rows
from bitmill.schemas.dataset.card import PlanPart
from bitmill.schemas.dataset.plan_schema import PLAN_FORMAT_VERSION, PLAN_SCHEMA, PlannedShard, PlannedSource
from bitmill.schemas.ids import content_id


def plan_part(file: str, shards: Sequence[PlannedShard]) -> PlanPart:
    """Returns the card's entry for a plan file."""
    return PlanPart(
        file=file,
        plan_id=content_id("plan", [shard.shard_id for shard in shards]),
        num_sources=sum(len(shard.sources) for shard in shards),
        num_shards=len(shards),
        size_bytes=sum(source.size_bytes for shard in shards for source in shard.sources),
        attempt=shards[0].attempt if shards else 1,
    )


def plan_bytes(shards: Sequence[PlannedShard]) -> bytes:
    """Returns shards as the bytes of a Parquet file, one row per source."""

    def column(name: str) -> Sequence[object]:
        # One column at a time: all values of a million sources would take as much memory as the sources.
        if name in ("shard_id", "shard_index"):
            return [getattr(shard, name) for shard in shards for _ in shard.sources]
        if name == "source_index":
            return [
                shard.first_source_index + place for shard in shards for place in range(len(shard.sources))
            ]
        return [getattr(source, name) for shard in shards for source in shard.sources]

    return column_bytes(column, PLAN_SCHEMA)


def read_plan(data: bytes, *, origin: str, attempt: int = 1) -> list[PlannedShard]:
    """Returns the shards of a plan file, in order; ``attempt`` is the card's attempt number of the part.

    Raises FormatError, naming ``origin``, if it cannot be read.
    """
    rows = read_rows(data, PLAN_SCHEMA, what=f"The plan {origin}", version=PLAN_FORMAT_VERSION)
    return [_shard(list(run), attempt) for _, run in groupby(rows, key=itemgetter("shard_id"))]


def _shard(run: list[dict[str, Any]], attempt: int) -> PlannedShard:
    return PlannedShard(
        shard_id=run[0]["shard_id"],
        shard_index=run[0]["shard_index"],
        first_source_index=run[0]["source_index"],
        sources=tuple(
            PlannedSource(
                uri=row["uri"],
                size_bytes=row["size_bytes"],
                version=row["version"],
                start_ns=row["start_ns"],
                end_ns=row["end_ns"],
                metadata=row["metadata"],
            )
            for row in run
        ),
        attempt=attempt,
    )
