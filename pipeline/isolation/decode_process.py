"""Decodes sources in a child process that may crash or hang, for use without a cluster."""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from typing import Any

from bitmill.pipeline.isolation.child_process import ChildDiedError, ChildProcess
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import ItemEnd, ItemEvent, ItemStart, SourceEvent
from bitmill.pipeline.span_bytes import together
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason

_LEAVE = "leave"
"""Asks the child to drop the rest of a request."""

_LAST = "last"
"""The child's last message of a request."""

_LEAVE_S = 1.0
"""How long the child may take to drop a request; then it is killed, since starting another takes as long."""


def isolated_events(source: PlannedSource, settings: DecodeSettings) -> Generator[SourceEvent]:
    """As ``DecodeProcess.events``, in a child of its own, which is killed when the caller stops early."""
    with DecodeProcess(settings) as child:
        yield from child.events(source)


def isolated_sources(
    sources: Sequence[PlannedSource], settings: DecodeSettings
) -> Generator[tuple[PlannedSource, ItemEvent]]:
    """As ``isolated_events`` for one plain source after another, all in one child, which is replaced if it
    dies or hangs. The child runs ahead by as much as fits into the pipe. Raises ValueError for an archive.
    """
    left = list(sources)
    with DecodeProcess(settings) as child:
        while left:
            for event in child.events(*left):
                if isinstance(event, ItemStart):
                    raise ValueError(f"{left[0].uri} is an archive")  # noqa: TRY004 - no wrong type
                yield left[0], event
                if isinstance(event, ItemEnd):
                    del left[0]


class DecodeProcess(AbstractContextManager["DecodeProcess"]):
    """A context manager of a child process that decodes one request after another.

    It starts with the first request and is replaced after a death, a hang, or a request that it does not drop
    in time. Its memory is not limited here.
    """

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._child: ChildProcess | None = None
        self._in_request = False

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child, even while it decodes."""
        if self._child is not None:
            self._child.kill()
            self._child.end()
        self._child = None

    def events(self, *sources: PlannedSource) -> Generator[SourceEvent]:
        """Yields the clips of a source, then its end event; if the child dies or hangs, that becomes the end.

        For an archive, yields the events of its items, up to a death or hang. For several plain sources,
        yields the events of one after another, up to a death or hang. A caller may stop early and call again.
        """
        child = self._idle_child()
        child.send(sources)
        self._in_request = True
        for source in sources:
            if self._child is child:
                yield from self._events_of(source, child)

    def _events_of(self, source: PlannedSource, child: ChildProcess) -> Generator[SourceEvent]:
        while (event := self._received(child)) != _LAST:
            if isinstance(event, Staged):
                continue
            yield event
            if isinstance(event, ItemEnd) and not (source.is_archive and self._child is child):
                return
        self._in_request = False

    def _received(self, child: ChildProcess) -> Any:
        """Returns the child's next message; an end event, and no child is left, if it died or hung."""
        timeout_s = self._settings.limits.item_timeout_s
        try:
            return child.receive(timeout_s)
        except TimeoutError:
            detail = f"The decoder made no progress for {timeout_s:g} s and was stopped."
            end = ItemEnd.unread(Reason.DECODE_TIMEOUT, detail)
        except ChildDiedError:
            end = ItemEnd.unread(Reason.DECODER_CRASHED, "The decoder's process died.")
        self.close()
        return end

    def _idle_child(self) -> ChildProcess:
        """Returns a child that waits for a request, after dropping the rest of the last one."""
        if self._child is not None and self._in_request:
            self._child.send(_LEAVE)
            with suppress(TimeoutError, ChildDiedError):
                while self._child.receive(_LEAVE_S) != _LAST:
                    pass
                self._in_request = False
                return self._child
            self.close()
        if self._child is None:
            self._child = ChildProcess(_serve, self._settings, doing="decoded sources")
        return self._child


def _serve(pipe: "Connection[Any, Any]", settings: DecodeSettings) -> None:
    """The child's main loop: sends the events of each request until the pipe closes."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            request = pipe.recv()
            if request != _LEAVE:  # for a request that was finished meanwhile
                _send_events(pipe, request, settings)
                pipe.send(_LAST)


def _send_events(
    pipe: "Connection[Any, Any]", sources: Sequence[PlannedSource], settings: DecodeSettings
) -> None:
    for run in together(sources):
        with source_room(run[0], settings) as room:
            for source in run:
                for event in source_events(source, settings, room=room):
                    pipe.send(event)
                    if pipe.poll():
                        return
