"""The model interface of the entropy coder: the next symbol's probabilities of several clips, as integers.

Axes: B lanes (clips in parallel), K values of a symbol. A token is one or more symbols (``alphabet``): with a
prior its groups of g bits, K = 2^g. Symbols are in the order (t, h, w, symbol of the token).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bitmill.bsq_model.coding.frequencies import frequencies_of_logits
from bitmill.schemas.arrays import Int64s


class LogitStepper(Protocol):
    """Runs a prior over B clips, one group at a time; shapes are the same in every call."""

    def next_logits(self) -> Tensor:
        """Return the logits of each clip's next group, float32 [B, K], on any device."""
        ...

    def push(self, indices_B: Tensor) -> None:
        """Append the actual values of these groups, int64 [B], each in [0, K)."""
        ...


class SymbolModel(Protocol):
    """Predicts the next symbol of each of B clips; a pure function of the values pushed."""

    def next_frequencies(self) -> Int64s:
        """Return frequencies, int64 [B, K], each at least 1, each row with the sum 2^24."""
        ...

    def push(self, indices_B: Int64s) -> None:
        """Append the actual values of these symbols, int64 [B]."""
        ...


@dataclass(frozen=True, kw_only=True)
class CodingModel:
    """A factory of symbol models, with their group size."""

    group_bits: int
    """g, of bits; 1 for other codes."""
    start: Callable[[int, int, int], SymbolModel]
    """Maps (lanes, height, width), sizes in tokens, to a model before the first group."""


class QuantizedLogits:
    """Converts a stepper's logits to frequencies with ``frequencies_of_logits``."""

    def __init__(self, stepper: LogitStepper) -> None:
        self._stepper = stepper

    def next_frequencies(self) -> Int64s:
        """See SymbolModel."""
        return frequencies_of_logits(self._stepper.next_logits().detach().cpu().numpy())

    def push(self, indices_B: Int64s) -> None:
        """See SymbolModel."""
        self._stepper.push(torch.from_numpy(indices_B))
