"""Bundles sources that are decoded together: small ones, for which a task each would cost more than decoding,
and spans of one object, which share its copy and its probe.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import DecodedClip, SourceEvent
from bitmill.pipeline.span_bytes import together
from bitmill.pipeline.storage import is_local
from bitmill.schemas.dataset.plan_schema import PlannedSource

SMALL_BYTES = 1 << 20
"""Largest small source; decoding a larger one takes long enough to be worth a task."""

_MOST_SOURCES = 32
_BUNDLES_AT_LEAST = 32
"""Least number of bundles in a shard of small sources, so that decoders work in parallel."""

_MOST_LOOKS = 8
_LOOK_BYTES = 64 << 20
"""Spans of a local object make one bundle, plus one per ``_LOOK_BYTES`` of its size, at most ``_MOST_LOOKS``:
each may probe all packets again. Those of a remote object make one, since each bundle needs its own copy."""

MESSAGE_BYTES = 1 << 20
"""Events are batched into messages of about this size, exceeded by at most one clip."""

_EVENT_BYTES = 1 << 14
"""The size that an event without pixels counts as."""

MESSAGE_S = 1.0
"""A message is sent with the first event after this time, however small it is."""


@dataclass(frozen=True)
class Bundle:
    """Consecutive sources of a shard that are decoded one after another in one process."""

    sources: tuple[PlannedSource, ...]

    @property
    def uri(self) -> str:
        """The URI of the first source."""
        return self.sources[0].uri


@dataclass(frozen=True)
class Waiting:
    """Marks the start of a wait for disk space, which does not count as decoding time.

    ``Staged`` ends it; a second ``Staged`` ends the copying of a larger object.
    """


Message = Waiting | Staged | list[SourceEvent]
"""A list contains events of plain sources in order, each source's ended by its ItemEnd."""


def bundled(sources: Sequence[PlannedSource]) -> list[Bundle]:
    """Bundles sources in order: small ones together, spans of one larger object together, archives alone."""
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
    """Returns how many sources of one object are decoded together."""
    looks = min(_MOST_LOOKS, 1 + run[0].size_bytes // _LOOK_BYTES) if is_local(run[0].uri) else 1
    return -(-len(run) // looks)


def bundle_messages(
    bundle: Bundle, settings: DecodeSettings, begin_item: Callable[[], None]
) -> Iterator[Message]:
    """Yields ``Staged``, then the events of all sources, batched into messages.

    ``begin_item`` is called before each source. Run it in a process that may be killed, like
    ``source_events``; the unsent batch is lost with the process.
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
                    size_bytes += event.frames_THWC.nbytes if isinstance(event, DecodedClip) else _EVENT_BYTES
                    if size_bytes >= MESSAGE_BYTES or time.monotonic() - since >= MESSAGE_S:
                        yield gathered
                        gathered, size_bytes, since = [], 0, time.monotonic()
    yield gathered
