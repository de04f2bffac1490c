"""What is being decoded for one actor: a few items of its shard, and of the next one as its own run out."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bitmill.pipeline.items import SourceEvent


class Work(Protocol):
    """What a task decodes: a source, or several together."""

    @property
    def uri(self) -> str:
        """What it is called in errors."""
        ...


WorkT = TypeVar("WorkT", bound=Work)
WorkT_co = TypeVar("WorkT_co", bound=Work, covariant=True)


class Task(Protocol[WorkT_co]):
    """One source's decoding under way, or that of several together."""

    @property
    def source(self) -> WorkT_co:
        """What is decoded."""
        ...

    def events(self) -> Iterator[SourceEvent]:
        """The source's events, waited for."""
        ...

    def cancel(self) -> None:
        """End it; nobody will take its events."""
        ...


@dataclass
class _Expected(Generic[WorkT]):
    """An assignment that waits behind the one at work, and what has begun of it."""

    sources: Sequence[WorkT]
    begun: deque[Task[WorkT]] = field(default_factory=deque)


class DecodingWindow(Generic[WorkT]):
    """Starts decoding in the order in which it will be taken, never more than ``size`` items at once.

    ``items`` belongs to the actor's working thread; ``expect`` and ``forget`` may come from another, at any
    time: the assignment behind the next one may be told before the next one has begun.
    """

    def __init__(self, begin: Callable[[WorkT], Task[WorkT]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._expected: dict[int, _Expected[WorkT]] = {}

    def expect(self, number: int, sources: Sequence[WorkT]) -> None:
        """An assignment that will follow, whose decoding may begin early. Numbers grow."""
        with self._lock:
            self._expected.setdefault(number, _Expected(sources))

    def forget(self, number: int) -> None:
        """That assignment does not follow; end what has begun of it."""
        with self._lock:
            for task in self._claim(number):
                task.cancel()

    def items(self, number: int, sources: Sequence[WorkT], size: int) -> Iterator[Iterator[SourceEvent]]:
        """Events of each source of an assignment, in order; these may be fewer than were expected."""
        with self._lock:
            running = self._claim(number)
        if [task.source for task in running] != list(sources[: len(running)]):
            for task in running:
                task.cancel()
            running.clear()
        waiting = deque(sources[len(running) :])
        try:
            for source in sources:
                while waiting and len(running) < size:
                    running.append(self._begin(waiting.popleft()))
                if not waiting:
                    self._look_ahead(size - len(running))
                if running[0].source != source:
                    raise ValueError(f"{running[0].source.uri} was decoded where {source.uri} was due")
                yield running[0].events()
                running.popleft()
        finally:
            for task in running:
                task.cancel()

    def _claim(self, number: int) -> deque[Task[WorkT]]:
        expected = self._expected.pop(number, None)
        return expected.begun if expected is not None else deque()

    def _look_ahead(self, free: int) -> None:
        """Begin what comes next, so that ``free`` sources of it are under way."""
        with self._lock:
            if self._expected:
                following = self._expected[min(self._expected)]
                while len(following.begun) < min(free, len(following.sources)):
                    following.begun.append(self._begin(following.sources[len(following.begun)]))
