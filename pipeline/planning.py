"""The plan: cutting sources into shards, and the plan's file."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from bitmill.pipeline.tables import column_bytes, read_rows
from bitmill.schemas.dataset import PlanPart
from bitmill.schemas.ids import content_id, shard_id
from bitmill.schemas.job import ShardingSpec
from bitmill.schemas.plan import PLAN_FORMAT_VERSION, PLAN_SCHEMA, PlannedShard, PlannedSource


def cut_shards(
    sources: Sequence[PlannedSource],
    sharding: ShardingSpec,
    job_fingerprint: str,
    *,
    behind: Sequence[PlannedShard] = (),
    attempt: int = 1,
) -> list[PlannedShard]:
    """Cut sources, in their order, into shards of at most ``max_bytes`` and ``max_sources``.

    Shards are disjoint, together all sources, and none is empty; a source over ``max_bytes`` stands alone.
    Their numbers go on where those of ``behind`` end.
    """
    shards: list[PlannedShard] = []
    first = behind[-1].first_source_index + len(behind[-1].sources) if behind else 0
    for run in _runs(sources, sharding):
        shards.append(
            PlannedShard(
                shard_id=shard_id(job_fingerprint, [source.id for source in run], attempt),
                shard_index=len(behind) + len(shards),
                first_source_index=first,
                sources=tuple(run),
                attempt=attempt,
            )
        )
        first += len(run)
    return shards


def _runs(sources: Iterable[PlannedSource], sharding: ShardingSpec) -> Iterator[list[PlannedSource]]:
    run: list[PlannedSource] = []
    run_bytes = 0
    for source in sources:
        full = len(run) == sharding.max_sources or run_bytes + source.size_bytes > sharding.max_bytes
        if run and full:
            yield run
            run, run_bytes = [], 0
        run.append(source)
        run_bytes += source.size_bytes
    if run:
        yield run


def plan_part(file: str, shards: Sequence[PlannedShard]) -> PlanPart:
    """The card's entry of a plan file."""
    return PlanPart(
        file=file,
        plan_id=content_id("plan", [shard.shard_id for shard in shards]),
        num_sources=sum(len(shard.sources) for shard in shards),
        num_shards=len(shards),
        size_bytes=sum(shard.size_bytes for shard in shards),
        attempt=shards[0].attempt if shards else 1,
    )


def plan_bytes(shards: Sequence[PlannedShard]) -> bytes:
    """The plan as a Parquet file, one row a source."""

    def column(name: str) -> Sequence[object]:
        # A column at a time: all values of a million sources at once take as much as the sources themselves.
        if name in ("shard_id", "shard_index"):
            return [getattr(shard, name) for shard in shards for _ in shard.sources]
        if name == "source_index":
            return [
                shard.first_source_index + place for shard in shards for place in range(len(shard.sources))
            ]
        return [getattr(source, name) for shard in shards for source in shard.sources]

    return column_bytes(column, PLAN_SCHEMA)


def read_plan(data: bytes, *, origin: str, attempt: int = 1) -> list[PlannedShard]:
    """Shards of a plan file, in order; ``attempt`` is what the card says of it.

    Raises FormatError, naming ``origin``, where it cannot be read.
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
