"""The adaptive order-0 model, used without a prior: counts each group's values so far; integers only.

Axes: B lanes, G groups of a token, K values of a group.
"""

import numpy as np

from bitmill.bsq_model.coding.frequencies import frequencies_of_weights
from bitmill.bsq_model.coding.symbol_model import CodingModel, Int64s

_STEP = 32
"""Added per occurrence; each count starts at 16, half of it (Krichevsky and Trofimov)."""
_HALVED_EVERY = 1024
"""Number of tokens after which all counts are halved, rounded up, so that old tokens weigh less."""


class AdaptiveCounts:
    """Separate counts for each lane, so that a clip's bytes depend only on that clip."""

    def __init__(self, lanes: int, groups: int, group_bits: int) -> None:
        self._counts_BGK = np.full((lanes, groups, 1 << group_bits), _STEP // 2, np.int64)
        self._lanes_B = np.arange(lanes)
        self._group = self._tokens = 0

    def next_frequencies(self) -> Int64s:
        """See SymbolModel."""
        return frequencies_of_weights(self._counts_BGK[:, self._group])

    def push(self, indices_B: Int64s) -> None:
        """See SymbolModel."""
        self._counts_BGK[self._lanes_B, self._group, indices_B] += _STEP
        self._group += 1
        if self._group == self._counts_BGK.shape[1]:
            self._group, self._tokens = 0, self._tokens + 1
            if self._tokens % _HALVED_EVERY == 0:
                self._counts_BGK -= self._counts_BGK // 2


def order0_model(bits_per_token: int, group_bits: int = 1) -> CodingModel:
    """Return the fallback and baseline model; ``group_bits`` divides ``bits_per_token``; 1 adapts fastest."""
    groups = bits_per_token // group_bits

    def start(lanes: int, height: int, width: int) -> AdaptiveCounts:
        del height, width
        return AdaptiveCounts(lanes, groups, group_bits)

    return CodingModel(group_bits=group_bits, start=start)
