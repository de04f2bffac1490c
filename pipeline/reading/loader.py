"""TokenLoader: a DataLoader over TokenBatches whose state is also correct with worker processes."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from bitmill.pipeline.reading.batches import TokenBatches
from bitmill.pipeline.reading.order.resume_state import Position
from bitmill.pipeline.reading.samples.collate import TokenBatch
from bitmill.schemas.errors import WrongArgumentError


class TokenLoader(DataLoader[TokenBatch]):
    """Batches from DataLoader worker processes, with a state that resumes with any number of workers.

    A worker process that is killed ends the iteration with a RuntimeError, as in any DataLoader; the state is
    that after the last batch handed over.

    Counts batches handed over, not batches that workers prefetched. With ``num_workers=0``, which is faster,
    it passes on what ``batches`` yields. Lightning and other trainers that save objects with ``state_dict``
    can use it directly. Other options are the DataLoader's, but ``in_order=False``, which would make the
    state wrong, raises WrongArgumentError.
    """

    def __init__(self, batches: TokenBatches, *, num_workers: int = 0, **options: Any) -> None:
        if not options.get("in_order", True):
            raise WrongArgumentError(
                "in_order=False hands batches over in any order, of which no state can resume; leave it out."
            )
        super().__init__(batches, batch_size=None, num_workers=num_workers, **options)
        self.batches = batches
        self._resumed_at: dict[str, int] | None = None
        """The loaded state, until a batch follows it."""
        self._ahead = 0
        # Lightning calls set_epoch only on samplers.
        self.sampler.set_epoch = self._hear_epoch  # pyright: ignore[reportAttributeAccessIssue]

    def __iter__(self) -> Iterator[TokenBatch]:  # type: ignore[override]
        if self.num_workers == 0:
            yield from super().__iter__()
            return
        first = self.batches.begin()
        for number, batch in enumerate(_said_plainly(super().__iter__()), first.batch):
            self.batches.reach(Position(epoch=first.epoch, batch=number + 1), began=first)
            yield batch
        self.batches.reach(Position(epoch=first.epoch + 1), began=first)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Start from the first batch of an epoch; no effect if a state within that epoch was just loaded."""
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """The position of the next batch."""
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume after the last batch handed over when the state was taken."""
        self.batches.load_state_dict(state)
        self._resumed_at = self.batches.state_dict()

    def _hear_epoch(self, epoch: int) -> None:
        """Handle a trainer's set_epoch; the trainer also counts an epoch that ``max_steps`` cut short.

        Without a loaded state its count is right. Until the first batch after a load the state's epoch
        counts, and later calls keep that offset.
        """
        if self._resumed_at is None or self.batches.state_dict() != self._resumed_at:
            self.set_epoch(epoch + self._ahead)
            return
        if self._resumed_at["batch"] >= len(self.batches) and epoch > self.batches.epoch:
            # Taken at an epoch's last batch: some trainers go on in that epoch, which has no more, others in
            # the next.
            self.batches.set_epoch(self.batches.epoch + 1)
            self._resumed_at = self.batches.state_dict()
        self._ahead = self.batches.epoch - epoch


def _said_plainly(batches: Iterator[TokenBatch]) -> Iterator[TokenBatch]:
    """Pass batches on; a worker that dies between announcing a batch and handing it over is a RuntimeError.

    torch then fails on the worker's socket, before it hears of its death.
    """
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (EOFError, ConnectionError) as error:
            if str(error).startswith("Caught "):
                # The worker's own error, which torch passes on: it lives.
                raise
            raise RuntimeError(
                "A DataLoader worker process ended while it handed a batch over; see whether it was killed "
                "for want of memory (dmesg), and resume from the last state."
            ) from error
        yield batch
