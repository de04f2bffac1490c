"""TokenLoader: a DataLoader over TokenBatches whose state is right with worker processes, too."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from bitmill.pipeline.reading.batches import TokenBatches
from bitmill.pipeline.reading.order.resume_state import Position
from bitmill.pipeline.reading.samples.collate import TokenBatch


class TokenLoader(DataLoader[TokenBatch]):
    """Batches through DataLoader worker processes, with a state that any number of workers resumes.

    Counts the batches that were handed over, not those that workers made ahead. With ``num_workers=0``, which
    is faster, it hands on what ``batches`` makes. Lightning and other trainers that save what has
    ``state_dict`` take it as it is. Other options are the DataLoader's.
    """

    def __init__(self, batches: TokenBatches, *, num_workers: int = 0, **options: Any) -> None:
        super().__init__(batches, batch_size=None, num_workers=num_workers, **options)
        self.batches = batches
        self._loaded = False
        self._ahead = 0
        # Lightning tells the epoch to samplers alone.
        self.sampler.set_epoch = self._hear_epoch  # pyright: ignore[reportAttributeAccessIssue]

    def __iter__(self) -> Iterator[TokenBatch]:  # type: ignore[override]
        if self.num_workers == 0:
            yield from super().__iter__()
            return
        first = self.batches.begin()
        for number, batch in enumerate(super().__iter__(), first.batch):
            self.batches.reach(Position(epoch=first.epoch, batch=number + 1), began=first)
            yield batch
        self.batches.reach(Position(epoch=first.epoch + 1), began=first)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Begin with the first batch of an epoch; nothing where a state in it was loaded just now."""
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch stands."""
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the last batch that was handed over when the state was taken."""
        self.batches.load_state_dict(state)
        self._loaded = True

    def _hear_epoch(self, epoch: int) -> None:
        """Begin an epoch, by the count of a trainer that calls one whole that ``max_steps`` has ended.

        So it is right where no state was loaded; else where the state stands, and then on from there.
        """
        if self._loaded:
            self._ahead = self.batches.epoch - epoch
            self._loaded = False
        else:
            self.set_epoch(epoch + self._ahead)
