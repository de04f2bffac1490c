"""Brings decoded events into the order of a shard's sources, some of which are skipped."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from bitmill.pipeline.archive.tar_events import whole_archive
from bitmill.pipeline.isolation.source_bundles import Bundle, bundled
from bitmill.pipeline.items import ItemEnd, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource


def bundles_without(sources: Sequence[PlannedSource], skipped: Collection[int]) -> list[Bundle]:
    """Returns what to decode of a shard: its sources, except those at the indices ``skipped``."""
    return bundled([source for place, source in enumerate(sources) if place not in skipped])


def events_by_source(
    sources: Sequence[PlannedSource],
    skipped: Mapping[int, ItemEnd],
    bundles: Sequence[Bundle],
    decoded: Iterator[Iterator[SourceEvent]],
) -> Iterator[Iterator[SourceEvent]]:
    """Yields each source's events: its part of its bundle's in ``decoded``, or its end in ``skipped``."""
    parts = (
        events if len(bundle.sources) == 1 else _next_item(events)
        for bundle, events in zip(bundles, decoded, strict=True)
        for _ in bundle.sources
    )
    for place, source in enumerate(sources):
        end = skipped.get(place)
        if end is None:
            yield next(parts)
        else:
            yield whole_archive(source, end) if source.is_archive else iter([end])
    # Exhaust the generator, so that it releases what it started.
    yield from parts


def _next_item(events: Iterator[SourceEvent]) -> Iterator[SourceEvent]:
    for event in events:
        yield event
        if isinstance(event, ItemEnd):
            return
