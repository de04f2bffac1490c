"""The plan: cutting sources into shards, and the plan's file."""

from collections.abc import Iterable, Iterator, Sequence

from bitmill.pipeline.span_shares import shares, together
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

    Shards are disjoint, together all sources, and none is empty. An object counts once for those of its spans
    that stand together; one over ``max_bytes`` stands alone, cut between spans by what these take of it.
    Shards' numbers go on where those of ``behind`` end.
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
    behind_bytes = 0
    for of_object in together(sources):
        # An object's bytes are read for the first of its spans; the next ones cost what they take of it.
        size_bytes, taken_bytes = of_object[0].size_bytes, 0
        for source, share_bytes in zip(of_object, shares(of_object), strict=True):
            wanted_bytes = taken_bytes + share_bytes if taken_bytes else size_bytes
            full = len(run) == sharding.max_sources or behind_bytes + wanted_bytes > sharding.max_bytes
            if run and full:
                yield run
                run, behind_bytes, taken_bytes = [], 0, 0
            run.append(source)
            taken_bytes += share_bytes
        behind_bytes += max(size_bytes, taken_bytes)
    if run:
        yield run
