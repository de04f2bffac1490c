"""Small sources that are decoded together: a task for each would cost more than its decoding."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import DecodedClip, SourceEvent
from bitmill.pipeline.storage import is_local
from bitmill.schemas.dataset.plan_schema import PlannedSource

SMALL_BYTES = 1 << 20
"""A larger source is no small one: decoding it takes long enough to be worth a task."""

_MOST_SOURCES = 32
_BUNDLES_AT_LEAST = 32
"""A shard of small sources is cut into so many bundles at least, for decoders that work side by side."""

MESSAGE_BYTES = 1 << 20
"""Events are gathered until their pixels are so many, or more by one clip."""

_EVENT_BYTES = 1 << 14
"""What an event without pixels counts for."""

MESSAGE_S = 1.0
"""Events are not held back longer than until the first that comes after so long."""


@dataclass(frozen=True)
class Bundle:
    """Consecutive sources of a shard that are decoded one after another in one process."""

    sources: tuple[PlannedSource, ...]

    @property
    def uri(self) -> str:
        """Of the first."""
        return self.sources[0].uri


@dataclass(frozen=True)
class Waiting:
    """The mark before a wait for room on the disk, which is no decoder's time; ``Staged`` ends it."""


Message = Waiting | Staged | list[SourceEvent]
"""Of sources that are no archives: events in order, each source's ended by its ItemEnd."""


def bundled(sources: Sequence[PlannedSource]) -> list[Bundle]:
    """The sources in order, small ones together, never an archive with anything else."""
    most = max(1, min(_MOST_SOURCES, len(sources) // _BUNDLES_AT_LEAST))
    bundles: list[Bundle] = []
    run: list[PlannedSource] = []
    for source in sources:
        is_small = source.size_bytes <= SMALL_BYTES and not source.is_archive
        if run and (not is_small or len(run) == most):
            bundles.append(Bundle(tuple(run)))
            run = []
        if is_small:
            run.append(source)
        else:
            bundles.append(Bundle((source,)))
    if run:
        bundles.append(Bundle(tuple(run)))
    return bundles


def bundle_messages(
    bundle: Bundle, settings: DecodeSettings, begin_item: Callable[[], None]
) -> Iterator[Message]:
    """A mark, then the events of all sources, gathered until they are worth a message.

    ``begin_item`` is called before each source. Meant for a process that may be killed, as
    ``source_events`` is; what was gathered is lost with it.
    """
    yield Staged()
    gathered: list[SourceEvent] = []
    size_bytes, since = 0, time.monotonic()
    for source in bundle.sources:
        needs_room = not is_local(source.uri)
        if needs_room:
            yield gathered
            yield Waiting()
            gathered, size_bytes = [], 0
        with source_room(source, settings) as room:
            if needs_room:
                yield Staged()
                since = time.monotonic()
            begin_item()
            for event in source_events(source, settings, room=room):
                if isinstance(event, Staged):
                    continue
                gathered.append(event)
                size_bytes += event.frames_THWC.nbytes if isinstance(event, DecodedClip) else _EVENT_BYTES
                if size_bytes >= MESSAGE_BYTES or time.monotonic() - since >= MESSAGE_S:
                    yield gathered
                    gathered, size_bytes, since = [], 0, time.monotonic()
    yield gathered
