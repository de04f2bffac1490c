"""Orders of clips, and two DataLoader workers, for contenders that can be asked for any clips at any time."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

NUM_WORKERS = 2


def clip_numbers(
    num_clips: int, *, batch_size: int, shuffled: bool, epoch: int
) -> Iterator[range | list[int]]:
    """Numbers of each batch of an epoch: a range in the stored order, a list in a shuffled one."""
    order = np.random.default_rng(epoch).permutation(num_clips) if shuffled else None
    for first in range(0, num_clips, batch_size):
        last = min(first + batch_size, num_clips)
        yield range(first, last) if order is None else order[first:last].tolist()


class _Batches(Dataset[torch.Tensor]):
    """Whole batches by the numbers of their clips: a worker makes one in a single call, without collation."""

    def __init__(self, take: Callable[[Sequence[int]], torch.Tensor]) -> None:
        self._take = take

    def __getitem__(self, numbers: Sequence[int]) -> torch.Tensor:
        return self._take(numbers)


def worker_batches(
    take: Callable[[Sequence[int]], torch.Tensor], numbers: Iterator[Sequence[int]]
) -> Iterator[torch.Tensor]:
    """The batches of ``numbers``, made by two worker processes."""
    return iter(DataLoader(_Batches(take), batch_size=None, sampler=list(numbers), num_workers=NUM_WORKERS))
