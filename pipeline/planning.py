"""The plan: cutting sources into shards, and the plan's file."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.tables import read_table, table_bytes
from schemas.dataset import PlanPart
from schemas.ids import content_id, shard_id
from schemas.job import ShardingSpec
from schemas.plan import PLAN_FORMAT_VERSION, PLAN_SCHEMA, PlannedShard, PlannedSource


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
    columns: dict[str, list[object]] = {name: [] for name in PLAN_SCHEMA.names}
    for shard in shards:
        for offset, source in enumerate(shard.sources):
            row = {
                "shard_id": shard.shard_id,
                "shard_index": shard.shard_index,
                "source_index": shard.first_source_index + offset,
                "uri": source.uri,
                "size_bytes": source.size_bytes,
                "version": source.version,
                "start_ns": source.start_ns,
                "end_ns": source.end_ns,
                "metadata": source.metadata,
            }
            for name, value in row.items():
                columns[name].append(value)
    return table_bytes(columns, PLAN_SCHEMA)


def read_plan(data: bytes, *, origin: str, attempt: int = 1) -> list[PlannedShard]:
    """Shards of a plan file, in order; ``attempt`` is what the card says of it.

    Raises FormatError, naming ``origin``, where it cannot be read.
    """
    rows = read_table(data, PLAN_SCHEMA, what=f"The plan {origin}", version=PLAN_FORMAT_VERSION)
    return list(_shards(rows, attempt))


def _shards(rows: list[dict[str, Any]], attempt: int) -> Iterator[PlannedShard]:
    start = 0
    for position in range(1, len(rows) + 1):
        if position < len(rows) and rows[position]["shard_id"] == rows[start]["shard_id"]:
            continue
        run = rows[start:position]
        yield PlannedShard(
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
        start = position
