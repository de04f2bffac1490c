"""A reader's position in an epoch, with and without worker processes."""

from collections.abc import Iterator
from dataclasses import dataclass

from bitmill.schemas.errors import UsageError


@dataclass(frozen=True)
class Position:
    """The next global batch; in a worker process also its worker number, so that it continues its own share.

    The DataLoader takes from its workers in turn. Worker w of W has batches first + w, first + w + W, …
    """

    epoch: int = 0
    batch: int = 0
    """The next batch; for a worker, the next of its own batches."""
    worker: int = 0
    num_workers: int = 0
    """0: a position of all workers together, as seen by the main process."""

    def state(self) -> dict[str, int]:
        """This position as a dict of ints."""
        own = {"worker": self.worker, "num_workers": self.num_workers} if self.num_workers else {}
        return {"epoch": self.epoch, "batch": self.batch, **own}

    @classmethod
    def of_state(cls, state: dict[str, int]) -> "Position":
        """Restore from ``state()``; ignores other keys."""
        return cls(
            epoch=state["epoch"],
            batch=state["batch"],
            worker=state.get("worker", 0),
            num_workers=state.get("num_workers", 0),
        )

    def walk(self, worker: int, num_workers: int) -> "Walk":
        """The batches of a worker from here on; without workers, pass worker 0 of 1.

        Raises UsageError if the position belongs to another worker.
        """
        if self.num_workers and (self.worker, self.num_workers) != (worker, num_workers):
            raise UsageError(
                f"The state belongs to worker {self.worker} of {self.num_workers}, not to worker {worker} "
                f"of {num_workers}. To resume with another number of workers, save TokenLoader's state."
            )
        first = self.batch if self.num_workers else self.batch + worker
        return Walk(epoch=self.epoch, first=first, worker=worker, step=num_workers)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Every ``step``-th batch of an epoch, starting at ``first``."""

    epoch: int
    first: int
    worker: int
    step: int

    def numbers(self, num_batches: int) -> Iterator[int]:
        """Numbers of the global batches, in order."""
        return iter(range(self.first, num_batches, self.step))

    def after(self, number: int) -> Position:
        """The position after a batch of this walk."""
        if self.step == 1:
            return Position(epoch=self.epoch, batch=number + 1)
        return Position(epoch=self.epoch, batch=number + self.step, worker=self.worker, num_workers=self.step)
