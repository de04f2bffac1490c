"""SIGTERM while shards are at work: the first one lets them finish for a while, the second ends at once."""

from collections.abc import Callable

from bitmill.schemas.errors import InterruptedJobError


class StopRequest:
    """Whether a run was asked to stop; it looks at ``asked`` now and then."""

    def __init__(self) -> None:
        self.asked = False

    def receive(self) -> None:
        """Take a request. Raises InterruptedJobError where it is the second."""
        if self.asked:
            raise interrupted()
        self.asked = True


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


def interrupted() -> InterruptedJobError:
    """The error that ends a run that was asked to stop."""
    return InterruptedJobError("Interrupted; committed shards stay. Run the same command again to resume.")
