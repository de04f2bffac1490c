"""How small tensors leave a DataLoader's worker process: inside the message."""

from typing import Any

import numpy as np
import torch


class InlineTensor(torch.Tensor):
    """A tensor that pickles by value, and arrives as a plain one.

    torch hands each tensor over as a file of shared memory, whose descriptor the other process asks for by a
    socket: right for a batch's tokens, and for a few bytes dearer than all else of the batch.
    """

    def __reduce_ex__(self, _: Any) -> tuple[Any, tuple[Any, ...]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _arrived, (self.as_subclass(torch.Tensor).numpy(),)


def inline(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, on the same memory, to be handed over by value."""
    return tensor.as_subclass(InlineTensor)


def _arrived(array: np.ndarray[Any, np.dtype[Any]]) -> torch.Tensor:
    return torch.from_numpy(array)
