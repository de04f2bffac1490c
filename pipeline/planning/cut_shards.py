"""Cuts sources into shards."""

from collections.abc import Iterable, Iterator, Sequence

from bitmill.pipeline.span_bytes import shares, together
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

    Shards are disjoint, non-empty, and cover all sources. An object's bytes count once for its adjacent
    spans; an object over ``max_bytes`` gets shards of its own, cut between spans by their shares of it. Shard
    numbers continue after those of ``behind``.
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
        # The first span of an object costs the whole object's bytes; the next ones cost their share of it.
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
