"""Decides what a takedown removes, and filters it out of a shard being written. Pure: no I/O."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemStart, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.dataset.removal import Removal
from bitmill.schemas.ids import clip_id
from bitmill.schemas.outcomes import Reason

ALL_GONE = "Taken down on request."
SOME_GONE = "Some of its clips were taken down on request."


@dataclass(frozen=True)
class Takedown:
    """Sources, members of tars and clips that must not be in the dataset."""

    sources: frozenset[str] = frozenset()
    """URIs; applies to all spans of them."""
    items: frozenset[tuple[str, str]] = frozenset()
    """URIs and keys."""
    clips: frozenset[str] = frozenset()
    """Clip ids."""

    def __bool__(self) -> bool:
        return bool(self.sources or self.items or self.clips)

    @classmethod
    def of(cls, removals: Iterable[Removal]) -> "Takedown":
        """The union of these records' requests."""
        asked = list(removals)
        sources = [source for removal in asked for source in removal.sources]
        return cls(
            sources=frozenset(source.uri for source in sources if source.key is None),
            items=frozenset((source.uri, source.key) for source in sources if source.key is not None),
            clips=frozenset(clip for removal in asked for clip in removal.clips),
        )

    @property
    def uris(self) -> frozenset[str]:
        """Sources of which all or a member was requested."""
        return self.sources | {uri for uri, _ in self.items}

    def takes_item(self, uri: str, key: str | None) -> bool:
        """True if a whole item is removed; with key None, if a whole source is."""
        return uri in self.sources or (key is not None and (uri, key) in self.items)

    def takes_clip(self, clip: str, uri: str, key: str | None) -> bool:
        """True if a clip is removed, by its id or with its item."""
        return clip in self.clips or self.takes_item(uri, key)


NOTHING = Takedown()


def removed_sources(sources: Sequence[PlannedSource], takedown: Takedown) -> dict[int, ItemEnd]:
    """Returns the ends of wholly removed sources, which should not be read at all, by their index."""
    end = ItemEnd.unread(Reason.REMOVED, ALL_GONE)
    return {place: end for place, source in enumerate(sources) if takedown.takes_item(source.uri, None)}


def withheld(
    source: PlannedSource, events: Iterator[SourceEvent], takedown: Takedown, sampling_rule: dict[str, Any]
) -> Iterator[SourceEvent]:
    """Yield a source's events without removed clips; an item that loses some ends as ``removed``.

    For members and single clips.
    """
    key: str | None = None
    is_gone = takedown.takes_item(source.uri, None)
    kept = lost = 0
    for event in events:
        if isinstance(event, ItemStart):
            key, is_gone = event.key, takedown.takes_item(source.uri, event.key)
        elif isinstance(event, DecodedClip):
            clip = clip_id(source.uri, key, source.span_ns, event.start_ns, sampling_rule)
            if is_gone or clip in takedown.clips:
                lost += 1
                continue
            kept += 1
        elif lost or is_gone:
            yield replace(event, reason=Reason.REMOVED, detail=SOME_GONE if kept else ALL_GONE)
            kept = lost = 0
            continue
        else:
            kept = lost = 0
        yield event
