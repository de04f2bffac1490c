"""The decode window of one actor: a few items of its shard, then of the next shard."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bitmill.jobs.scheduling.decode_pace import DecodePace
from bitmill.pipeline.items import SourceEvent

WorkT = TypeVar("WorkT")
"""Input of a decoding task: one source or a bundle of sources."""


class Task(Protocol):
    """A running decoding task."""

    def events(self) -> Iterator[SourceEvent]:
        """Yields its sources' events, blocking until they arrive."""
        ...

    def cancel(self) -> None:
        """Cancel the task; its events will not be read."""
        ...


@dataclass
class _Expected(Generic[WorkT]):
    """An assignment queued behind the running one, and the tasks of its first sources, which have started."""

    sources: Sequence[WorkT]
    begun: deque[Task] = field(default_factory=deque[Task])


class DecodingWindow(Generic[WorkT]):
    """Starts decoding tasks in the order in which they are read, as many at once as the pace allows.

    ``items`` runs in the actor's worker thread; ``expect`` and ``forget`` may be called from another at any
    time: a later assignment may be announced before the next one has started.
    """

    def __init__(self, begin: Callable[[WorkT], Task]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._expected: dict[int, _Expected[WorkT]] = {}

    def expect(self, number: int, sources: Sequence[WorkT], *, begin: int = 0) -> None:
        """Announce a following assignment, whose decoding may start early. Numbers must increase.

        ``begin`` tasks of the first one announced are started at once.
        """
        with self._lock:
            self._expected.setdefault(number, _Expected(sources))
        self._look_ahead(begin)

    def forget(self, number: int) -> None:
        """Drop an announced assignment and cancel its started tasks."""
        with self._lock:
            for task in self._expected.pop(number, _Expected[WorkT](())).begun:
                task.cancel()

    def items(
        self, number: int, sources: Sequence[WorkT], pace: DecodePace
    ) -> Iterator[Iterator[SourceEvent]]:
        """Yield each source's events of an assignment, in order; ``sources`` may be fewer than announced."""
        with self._lock:
            expected = self._expected.pop(number, _Expected(sources))
        running = expected.begun
        if list(expected.sources[: len(running)]) != list(sources[: len(running)]):
            for task in running:
                task.cancel()
            running.clear()
        waiting = deque(sources[len(running) :])
        try:
            for _ in sources:
                while waiting and (not running or len(running) < pace.size):
                    running.append(self._begin(waiting.popleft()))
                if not waiting:
                    self._look_ahead(pace.size - len(running))
                yield pace.measured(running[0].events())
                running.popleft()
        finally:
            for task in running:
                task.cancel()

    def _look_ahead(self, free: int) -> None:
        """Start the next assignment's tasks, at most ``free``."""
        with self._lock:
            if self._expected:
                following = self._expected[min(self._expected)]
                while len(following.begun) < min(free, len(following.sources)):
                    following.begun.append(self._begin(following.sources[len(following.begun)]))
