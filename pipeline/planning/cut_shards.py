"""The plan: cutting sources into shards, and the plan's file."""

from collections.abc import Iterable, Iterator, Sequence

from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.ids import shard_id
from bitmill.schemas.requests.job import ShardingSpec


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
