"""Sources that are decoded together: small ones, of which a task for each would cost more than its decoding,
and spans of one object, which share its copy and the look at its packets.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import DecodedClip, SourceEvent
from bitmill.pipeline.span_shares import together
from bitmill.pipeline.storage import is_local
from bitmill.schemas.dataset.plan_schema import PlannedSource

SMALL_BYTES = 1 << 20
"""A larger source is no small one: decoding it takes long enough to be worth a task."""

_MOST_SOURCES = 32
_BUNDLES_AT_LEAST = 32
"""A shard of small sources is cut into so many bundles at least, for decoders that work side by side."""

_MOST_LOOKS = 8
_LOOK_BYTES = 64 << 20
"""Spans of a local object make so many bundles at most, and one for each so many of its bytes: each may look
at all its packets again. Those of a remote object are one, since each would need a copy of its own."""

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
    """The mark before a wait for room on the disk, which is no decoder's time.

    ``Staged`` ends it; a further one ends the copying of a larger object.
    """


Message = Waiting | Staged | list[SourceEvent]
"""Of sources that are no archives: events in order, each source's ended by its ItemEnd."""


def bundled(sources: Sequence[PlannedSource]) -> list[Bundle]:
    """The sources in order, small ones together, those of one larger object too, an archive by itself."""
    most = max(1, min(_MOST_SOURCES, len(sources) // _BUNDLES_AT_LEAST))
    bundles: list[Bundle] = []
    small: list[PlannedSource] = []
    for run in together(sources):
        is_small = run[0].size_bytes <= SMALL_BYTES and not run[0].is_archive
        for source in run if is_small else ():
            if len(small) == most:
                bundles.append(Bundle(tuple(small)))
                small = []
            small.append(source)
        if small and not is_small:
            bundles.append(Bundle(tuple(small)))
            small = []
        if not is_small:
            length = _spans_together(run)
            bundles += [Bundle(tuple(run[at : at + length])) for at in range(0, len(run), length)]
    if small:
        bundles.append(Bundle(tuple(small)))
    return bundles


def _spans_together(run: Sequence[PlannedSource]) -> int:
    """How many sources of one object are decoded together."""
    looks = min(_MOST_LOOKS, 1 + run[0].size_bytes // _LOOK_BYTES) if is_local(run[0].uri) else 1
    return -(-len(run) // looks)


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
    for run in together(bundle.sources):
        needs_room = not is_local(run[0].uri)
        tells_of_copy = needs_room and run[0].size_bytes > SMALL_BYTES
        if needs_room:
            yield gathered
            yield Waiting()
            gathered, size_bytes = [], 0
        with source_room(run[0], settings) as room:
            if needs_room:
                yield Staged()
                since = time.monotonic()
            for source in run:
                begin_item()
                for event in source_events(source, settings, room=room):
                    if isinstance(event, Staged):
                        if tells_of_copy:
                            yield event
                        tells_of_copy = False
                        continue
                    gathered.append(event)
                    is_clip = isinstance(event, DecodedClip)
                    size_bytes += event.frames_THWC.nbytes if is_clip else _EVENT_BYTES
                    if size_bytes >= MESSAGE_BYTES or time.monotonic() - since >= MESSAGE_S:
                        yield gathered
                        gathered, size_bytes, since = [], 0, time.monotonic()
    yield gathered
