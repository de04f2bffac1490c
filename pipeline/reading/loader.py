"""TokenLoader: a DataLoader over TokenBatches whose state is right with worker processes, too."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from pipeline.reading.batches import TokenBatches
from pipeline.reading.batching import TokenBatch


class TokenLoader(DataLoader[TokenBatch]):
    """Batches through DataLoader worker processes, with a state that any number of workers resumes.

    Counts the batches that were handed over, not those that workers made ahead. With ``num_workers=0``, which
    is faster, it hands on what ``batches`` makes. Lightning and other trainers that save what has
    ``state_dict`` take it as it is. Other options are the DataLoader's.
    """

    def __init__(self, batches: TokenBatches, *, num_workers: int = 0, **options: Any) -> None:
        super().__init__(batches, batch_size=None, num_workers=num_workers, **options)
        self.batches = batches

    def __iter__(self) -> Iterator[TokenBatch]:  # type: ignore[override]
        if self.num_workers == 0:
            yield from super().__iter__()
            return
        state = self.batches.state_dict()
        epoch, total = self.batches.epoch, len(self.batches)
        for batch in super().__iter__():
            state = state | {"batch": state["batch"] + 1}
            self.batches.load_state_dict(state)
            yield batch
        if state["batch"] >= total:
            self.batches.set_epoch(epoch + 1)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Begin with the first batch of an epoch; nothing where it is already in it."""
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where the next batch stands."""
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the last batch that was handed over when the state was taken."""
        self.batches.load_state_dict(state)
