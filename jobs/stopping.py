"""SIGTERM: the first one asks the run to end in good order, the second ends it at once."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum, auto

from schemas.errors import InterruptedJobError


class _Phase(Enum):
    BEFORE = auto()
    RUNNING = auto()
    AFTER = auto()


class StopRequest:
    """Whether the command was asked to stop; a run looks at it now and then."""

    def __init__(self) -> None:
        self.asked = False
        self._phase = _Phase.BEFORE

    @contextmanager
    def heeded(self) -> Generator["StopRequest"]:
        """A block that looks at ``asked`` by itself; before it a request raises, after it it is let pass."""
        self._phase = _Phase.RUNNING
        # Ray puts a handler of its own in place when a session starts.
        self.listen()
        try:
            yield self
        finally:
            self._phase = _Phase.AFTER

    def listen(self) -> None:
        """Have SIGTERM come here; only the main thread can, elsewhere it stays as it is."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda _number, _frame: self.receive())

    def receive(self) -> None:
        """Take a request. Raises InterruptedJobError where nobody looks, or where it is the second."""
        if self._phase is _Phase.AFTER:
            return
        if self._phase is _Phase.BEFORE or self.asked:
            raise stopped()
        self.asked = True


@contextmanager
def stop_on_sigterm() -> Generator[StopRequest]:
    """Turn SIGTERM into a StopRequest within the block."""
    request = StopRequest()
    before = signal.getsignal(signal.SIGTERM)
    request.listen()
    try:
        yield request
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def stopped() -> InterruptedJobError:
    """The error that ends a run that was asked to stop."""
    return InterruptedJobError("Stopped; committed shards stay. Run the same command again to resume.")


class Drain:
    """What is left of the grace period, from when the request is first seen."""

    def __init__(self, request: StopRequest, grace_s: float, clock: Callable[[], float]) -> None:
        self._request = request
        self._grace_s = grace_s
        self._clock = clock
        self._ends: float | None = None

    @property
    def draining(self) -> bool:
        """Whether nothing more is to be given out."""
        if self._request.asked and self._ends is None:
            self._ends = self._clock() + self._grace_s
        return self._ends is not None

    @property
    def over(self) -> bool:
        """Whether what is still at work is to be abandoned."""
        return self._ends is not None and self._clock() >= self._ends
