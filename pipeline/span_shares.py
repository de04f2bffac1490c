"""What sources count for where several are spans of one object: its bytes once. Pure arithmetic."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter

from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource


def together(sources: Iterable[PlannedSource]) -> Iterator[list[PlannedSource]]:
    """The sources in order, those of one object that stand together in one list."""
    return (list(run) for _, run in groupby(sources, key=attrgetter("object")))


def object_bytes(sources: Sequence[PlannedSource]) -> int:
    """Bytes of all objects that the sources name, one of which spans are wanted once."""
    of_spans = {source.object for source in sources if source.is_span}
    whole_bytes = sum(
        source.size_bytes for source in sources if not source.is_span and source.object not in of_spans
    )
    return whole_bytes + sum(size_bytes for _, size_bytes, _ in of_spans)


def shares(run: Sequence[PlannedSource]) -> list[int]:
    """Bytes that each source of one object counts for: the object's, by the time that it takes of it.

    How long the object lasts is not known here; what its spans reach over stands for that, so that spans
    which share no time count for the object at most. A source whose length nothing tells counts whole.
    """
    size_bytes = run[0].size_bytes
    if len(run) == 1:
        return [size_bytes]
    spans_ns = [source.span_ns for source in run if source.is_span]
    times_ns = [time_ns for span_ns in spans_ns for time_ns in span_ns if time_ns is not None]
    # An open start is the object's, which is zero for most; an open end makes a span as long as is usual.
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
    """By shard, ``shares`` of its sources; an object that several shards in a row hold is still one."""
    runs = together(source for shard in shards for source in shard.sources)
    counted = (share_bytes for run in runs for share_bytes in shares(run))
    return {shard.shard_id: list(islice(counted, len(shard.sources))) for shard in shards}
