"""Graceful shutdown: the first SIGTERM starts a grace period for running shards, the second aborts."""

from collections.abc import Callable

from bitmill.schemas.errors import InterruptedJobError


class StopRequest:
    """A flag that says whether the run was asked to stop; the run polls ``asked``."""

    def __init__(self) -> None:
        self.asked = False

    def receive(self) -> None:
        """Record a stop request. Raises InterruptedJobError on the second."""
        if self.asked:
            raise interrupted()
        self.asked = True


class Drain:
    """The grace period, which starts when the request is first seen."""

    def __init__(self, request: StopRequest, grace_s: float, clock: Callable[[], float]) -> None:
        self._request = request
        self._grace_s = grace_s
        self._clock = clock
        self._ends: float | None = None

    @property
    def draining(self) -> bool:
        """Whether to stop assigning shards."""
        if self._request.asked and self._ends is None:
            self._ends = self._clock() + self._grace_s
        return self._ends is not None

    @property
    def over(self) -> bool:
        """Whether the grace period is over and running shards must be abandoned."""
        return self._ends is not None and self._clock() >= self._ends


def interrupted() -> InterruptedJobError:
    """Returns the error that ends an interrupted run."""
    return InterruptedJobError("Interrupted; committed shards stay. Run the same command again to resume.")
