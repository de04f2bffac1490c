"""Decoding one source in a child process that may crash or hang alone, where no cluster does it."""

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import ItemEnd, ItemEvent, ItemStart, SourceEvent
from bitmill.pipeline.span_shares import together
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason

_LAST = "last"
"""Behind an archive's events, of which only it knows how many there are."""


def isolated_events(source: PlannedSource, settings: DecodeSettings) -> Generator[SourceEvent]:
    """Clips of one source and its end; a death or hang of the child becomes the end.

    Of an archive, the events of its items, up to a death or hang. The child is ended when the caller stops
    early. Its memory is not limited here.
    """
    yield from _events_of([source], settings)


def isolated_sources(
    sources: Sequence[PlannedSource], settings: DecodeSettings
) -> Generator[tuple[PlannedSource, ItemEvent]]:
    """As ``isolated_events`` for one plain source after another, in one child until it dies: a picture costs
    no process of its own. The child works ahead by what a pipe holds. Archives are none of its business.
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
    """Events of all sources in order, from one child; a death or hang ends them after that source's end."""
    # A forked child would share locks of threads that it does not have.
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_send_events, args=(theirs, list(sources), settings), daemon=True)
    child.start()
    theirs.close()
    try:
        for source in sources:
            yield from _received(ours, source, settings.limits.item_timeout_s)
    finally:
        child.kill()
        child.join()
        ours.close()


def _send_events(connection: Connection, sources: list[PlannedSource], settings: DecodeSettings) -> None:
    for run in together(sources):
        with source_room(run[0], settings) as room:
            for source in run:
                for event in source_events(source, settings, room=room):
                    connection.send(event)
                if source.is_archive:
                    connection.send(_LAST)


def _received(connection: Connection, source: PlannedSource, timeout_s: float) -> Iterator[SourceEvent]:
    while True:
        if not connection.poll(timeout_s):
            yield ItemEnd.unread(
                Reason.DECODE_TIMEOUT, f"The decoder gave nothing for {timeout_s:g} s and was ended."
            )
            return
        try:
            event: Any = connection.recv()
        except EOFError:
            yield ItemEnd.unread(Reason.DECODER_CRASHED, "The decoder's process died.")
            return
        if event == _LAST:
            return
        if isinstance(event, Staged):
            continue
        yield event
        if isinstance(event, ItemEnd) and not source.is_archive:
            return
