"""What is being decoded for one actor: a few items of its shard, and of the next one as its own run out."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pipeline.items import SourceEvent
from schemas.plan import PlannedSource


class Task(Protocol):
    """One source's decoding under way."""

    def events(self) -> Iterator[SourceEvent]:
        """The source's events, waited for."""
        ...

    def cancel(self) -> None:
        """End it; nobody will take its events."""
        ...


class DecodingWindow:
    """Starts decoding in the order in which it will be taken, never more than ``size`` items at once.

    ``items`` belongs to the actor's working thread; ``expect`` and ``forget`` may come from another.
    """

    def __init__(self, begin: Callable[[PlannedSource], Task]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._next: int | None = None
        self._next_sources: Sequence[PlannedSource] = ()
        self._ahead: deque[Task] = deque()

    def expect(self, number: int, sources: Sequence[PlannedSource]) -> None:
        """The assignment that follows the one at work, whose decoding may begin early."""
        with self._lock:
            self._next, self._next_sources = number, sources

    def forget(self, number: int) -> None:
        """That assignment does not follow; end what has begun of it."""
        with self._lock:
            for task in self._claim(number):
                task.cancel()

    def items(
        self, number: int, sources: Sequence[PlannedSource], size: int
    ) -> Iterator[Iterator[SourceEvent]]:
        """Events of each source of an assignment, in order."""
        with self._lock:
            running = self._claim(number)
        waiting = deque(sources[len(running) :])
        try:
            while waiting or running:
                while waiting and len(running) < size:
                    running.append(self._begin(waiting.popleft()))
                if not waiting:
                    self._look_ahead(size - len(running))
                yield running[0].events()
                running.popleft()
        finally:
            for task in running:
                task.cancel()

    def _claim(self, number: int) -> deque[Task]:
        if self._next != number:
            return deque()
        begun, self._ahead = self._ahead, deque()
        self._next, self._next_sources = None, ()
        return begun

    def _look_ahead(self, free: int) -> None:
        with self._lock:
            while len(self._ahead) < min(free, len(self._next_sources)):
                self._ahead.append(self._begin(self._next_sources[len(self._ahead)]))
