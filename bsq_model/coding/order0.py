"""The adaptive order-0 model, used without a prior: counts each symbol's values so far; integers only.

Axes: B lanes, G symbols of a token, K values of a symbol.
"""

from collections.abc import Sequence

import numpy as np

from bitmill.bsq_model.coding.alphabet import Alphabet
from bitmill.bsq_model.coding.frequencies import frequencies_of_weights
from bitmill.bsq_model.coding.symbol_model import CodingModel, Int64s
from bitmill.schemas.models.geometry import Code

_STEP = 32
"""Added per occurrence; each count starts at 16, half of it (Krichevsky and Trofimov)."""
_HALVED_EVERY = 1024
"""Number of tokens after which all counts are halved, rounded up, so that old tokens weigh less."""


class AdaptiveCounts:
    """Separate counts for each lane, so that a clip's bytes depend only on that clip."""

    def __init__(self, lanes: int, sizes: Sequence[int]) -> None:
        self._counts_GBK = [np.full((lanes, size), _STEP // 2, np.int64) for size in sizes]
        self._lanes_B = np.arange(lanes)
        self._symbol = self._tokens = 0

    def next_frequencies(self) -> Int64s:
        """See SymbolModel."""
        return frequencies_of_weights(self._counts_GBK[self._symbol])

    def push(self, indices_B: Int64s) -> None:
        """See SymbolModel."""
        self._counts_GBK[self._symbol][self._lanes_B, indices_B] += _STEP
        self._symbol += 1
        if self._symbol == len(self._counts_GBK):
            self._symbol, self._tokens = 0, self._tokens + 1
            if self._tokens % _HALVED_EVERY == 0:
                self._counts_GBK = [counts_BK - counts_BK // 2 for counts_BK in self._counts_GBK]


def order0_model(code: Code, group_bits: int = 1) -> CodingModel:
    """Return the fallback and baseline model; bits may be counted in groups, but 1 adapts fastest."""
    sizes = Alphabet(code, group_bits).sizes

    def start(lanes: int, height: int, width: int) -> AdaptiveCounts:
        del height, width
        return AdaptiveCounts(lanes, sizes)

    return CodingModel(group_bits=group_bits, start=start)
