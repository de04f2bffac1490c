"""Shares an object's bytes among its spans, so that they count once. Pure arithmetic."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter

from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource


def together(sources: Iterable[PlannedSource]) -> Iterator[list[PlannedSource]]:
    """Group adjacent sources of the same object; keeps their order."""
    return (list(run) for _, run in groupby(sources, key=attrgetter("object")))


def object_bytes(sources: Sequence[PlannedSource]) -> int:
    """Returns the total bytes of the sources' objects; an object with several spans counts once."""
    of_spans = {source.object for source in sources if source.is_span}
    whole_bytes = sum(
        source.size_bytes for source in sources if not source.is_span and source.object not in of_spans
    )
    return whole_bytes + sum(size_bytes for _, size_bytes, _ in of_spans)


def shares(run: Sequence[PlannedSource]) -> list[int]:
    """Returns each source's share of its object's bytes, in proportion to its duration.

    The object's duration is unknown here and is approximated by the range that its spans cover, so that
    disjoint spans add up to at most the object's bytes. A source of unknown duration counts in full.
    """
    size_bytes = run[0].size_bytes
    if len(run) == 1:
        return [size_bytes]
    spans_ns = [source.span_ns for source in run if source.is_span]
    times_ns = [time_ns for span_ns in spans_ns for time_ns in span_ns if time_ns is not None]
    # An open start counts as 0, as in most objects; a span with an open end gets the usual length.
    first_ns = min([0, *times_ns] if any(start_ns is None for start_ns, _ in spans_ns) else times_ns or [0])
    closed_ns = [(first_ns if start is None else start, end) for start, end in spans_ns if end is not None]
    usual_ns = sum(end_ns - start_ns for start_ns, end_ns in closed_ns) // max(1, len(closed_ns))
    open_ns = [(start, start + usual_ns) for start, end in spans_ns if start is not None and end is None]
    reach_ns = max((end_ns for _, end_ns in closed_ns + open_ns), default=0) - first_ns

    def share(source: PlannedSource) -> int:
        start_ns = first_ns if source.start_ns is None else source.start_ns
        length_ns = usual_ns if source.end_ns is None else source.end_ns - start_ns
        if not source.is_span or length_ns <= 0 or reach_ns <= 0:
            return size_bytes
        return min(size_bytes, size_bytes * length_ns // reach_ns)

    return [share(source) for source in run]


def shares_of_shards(shards: Sequence[PlannedShard]) -> dict[str, list[int]]:
    """Returns ``shares`` by shard; an object that spans consecutive shards still counts once."""
    runs = together(source for shard in shards for source in shard.sources)
    counted = (share_bytes for run in runs for share_bytes in shares(run))
    return {shard.shard_id: list(islice(counted, len(shard.sources))) for shard in shards}
