"""Where a reader stands in an epoch, with and without worker processes."""

from collections.abc import Iterator
from dataclasses import dataclass

from bitmill.schemas.errors import UsageError


@dataclass(frozen=True)
class Position:
    """The next global batch. In a worker process: also where its round began, so that it goes on with its
    own.

    The DataLoader takes from its workers in turn. Worker w of W has batches first + w, first + w + W, …
    """

    epoch: int = 0
    batch: int = 0
    """The next batch; for a worker, its own next one."""
    worker: int = 0
    num_workers: int = 0
    """0: a position of all workers together, as the main process knows it."""

    def state(self) -> dict[str, int]:
        """As integers."""
        own = {"worker": self.worker, "num_workers": self.num_workers} if self.num_workers else {}
        return {"epoch": self.epoch, "batch": self.batch, **own}

    @classmethod
    def of_state(cls, state: dict[str, int]) -> "Position":
        """From ``state()``; further keys are not looked at."""
        return cls(
            epoch=state["epoch"],
            batch=state["batch"],
            worker=state.get("worker", 0),
            num_workers=state.get("num_workers", 0),
        )

    def walk(self, worker: int, num_workers: int) -> "Walk":
        """The batches of a worker from here on; of the only process, as worker 0 of 1.

        Raises UsageError where the position is that of another worker.
        """
        if self.num_workers and (self.worker, self.num_workers) != (worker, num_workers):
            raise UsageError(
                f"The state is that of worker {self.worker} of {self.num_workers}, not of {worker} of "
                f"{num_workers}. Take TokenLoader's state to resume with another number of workers."
            )
        first = self.batch if self.num_workers else self.batch + worker
        return Walk(epoch=self.epoch, first=first, worker=worker, step=num_workers)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Every ``step``-th batch of an epoch from ``first``."""

    epoch: int
    first: int
    worker: int
    step: int

    def numbers(self, num_batches: int) -> Iterator[int]:
        """Global batches, in order."""
        return iter(range(self.first, num_batches, self.step))

    def after(self, number: int) -> Position:
        """The position behind a batch of this walk."""
        if self.step == 1:
            return Position(epoch=self.epoch, batch=number + 1)
        return Position(epoch=self.epoch, batch=number + self.step, worker=self.worker, num_workers=self.step)
