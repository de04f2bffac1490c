"""What the coder asks of a model: the next group's probabilities for some clips side by side, as integers.

Axes: B lanes (clips side by side), K = 2^g values of a group of g bits. Groups come in the order
(t, h, w, group).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitmill.bsq_model.coding.frequencies import frequencies_of_logits

Int64s = npt.NDArray[np.int64]


class LogitStepper(Protocol):
    """A prior at work on B clips, one group at a time; every call has the same shapes."""

    def next_logits(self) -> Tensor:
        """Of the next group of each clip, float32 [B, K], on any device."""
        ...

    def push(self, indices_B: Tensor) -> None:
        """What the groups turned out to be, int64 [B], each in [0, K)."""
        ...


class SymbolModel(Protocol):
    """Frequencies of the next group of each of B clips; a pure function of what was pushed."""

    def next_frequencies(self) -> Int64s:
        """Int64 [B, K], each at least 1, each row with the sum 2^24."""
        ...

    def push(self, indices_B: Int64s) -> None:
        """What the groups turned out to be, int64 [B]."""
        ...


@dataclass(frozen=True, kw_only=True)
class CodingModel:
    """A kind of symbol model, and how to start one."""

    group_bits: int
    start: Callable[[int, int, int], SymbolModel]
    """From (lanes, height, width), sizes in tokens, to a model before the first group."""


class QuantizedLogits:
    """A stepper's logits as frequencies, by the rule of ``frequencies_of_logits``."""

    def __init__(self, stepper: LogitStepper) -> None:
        self._stepper = stepper

    def next_frequencies(self) -> Int64s:
        """See SymbolModel."""
        return frequencies_of_logits(self._stepper.next_logits().detach().cpu().numpy())

    def push(self, indices_B: Int64s) -> None:
        """See SymbolModel."""
        self._stepper.push(torch.from_numpy(indices_B))
