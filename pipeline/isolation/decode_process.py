"""Decodes sources in a child process that may crash or hang, for use without a cluster."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection

from bitmill.pipeline.isolation.child_process import ChildDiedError, ChildProcess
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import ItemEnd, ItemEvent, ItemStart, SourceEvent
from bitmill.pipeline.span_bytes import together
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason

_LAST = "last"
"""Sent after an archive's events, whose number the parent does not know."""


def isolated_events(source: PlannedSource, settings: DecodeSettings) -> Generator[SourceEvent]:
    """Yields the clips of one source, then its end event; if the child dies or hangs, that becomes the end.

    For an archive, yields the events of its items, up to a death or hang. The child is killed when the caller
    stops early. Its memory is not limited here.
    """
    yield from _events_of([source], settings)


def isolated_sources(
    sources: Sequence[PlannedSource], settings: DecodeSettings
) -> Generator[tuple[PlannedSource, ItemEvent]]:
    """As ``isolated_events`` for one plain source after another, all in one child, which is replaced if it
    dies or hangs. The child runs ahead by as much as fits into the pipe. Raises ValueError for an archive.
    """
    left = list(sources)
    while left:
        with closing(_events_of(left, settings)) as events:
            for event in events:
                if isinstance(event, ItemStart):
                    raise ValueError(f"{left[0].uri} is an archive")  # noqa: TRY004 - no wrong type
                yield left[0], event
                if isinstance(event, ItemEnd):
                    del left[0]
                    if event.reason in (Reason.DECODE_TIMEOUT, Reason.DECODER_CRASHED):
                        break


def _events_of(sources: Sequence[PlannedSource], settings: DecodeSettings) -> Generator[SourceEvent]:
    """Yields the events of all sources in order, from one child; stops at the first death or hang."""
    child = ChildProcess(_send_events, list(sources), settings)
    try:
        for source in sources:
            yield from _received(child, source, settings.limits.item_timeout_s)
    finally:
        child.kill()
        child.end()


def _send_events(connection: Connection, sources: list[PlannedSource], settings: DecodeSettings) -> None:
    for run in together(sources):
        with source_room(run[0], settings) as room:
            for source in run:
                for event in source_events(source, settings, room=room):
                    connection.send(event)
                if source.is_archive:
                    connection.send(_LAST)


def _received(child: ChildProcess, source: PlannedSource, timeout_s: float) -> Iterator[SourceEvent]:
    while True:
        try:
            event = child.receive(timeout_s)
        except TimeoutError:
            yield ItemEnd.unread(
                Reason.DECODE_TIMEOUT, f"The decoder made no progress for {timeout_s:g} s and was stopped."
            )
            return
        except ChildDiedError:
            yield ItemEnd.unread(Reason.DECODER_CRASHED, "The decoder's process died.")
            return
        if event == _LAST:
            return
        if isinstance(event, Staged):
            continue
        yield event
        if isinstance(event, ItemEnd) and not source.is_archive:
            return
