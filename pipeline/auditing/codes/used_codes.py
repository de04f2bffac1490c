"""Counts distinct codes: a bitmap up to 2^24 possible codes, a sketch beyond.

The sketch is HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, 2007) with the estimator of Ertl, "New
cardinality estimation algorithms for HyperLogLog sketches" (arXiv 1702.01284), which needs no tables and is
unbiased from one code on.
"""

from math import inf, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.splitmix64 import splitmix64
from bitmill.schemas.compiled_code.numba_compile import compiled

MAX_EXACT_BITS = 24
_INDEX_BITS = 16
_RANK_BITS = 64 - _INDEX_BITS


class UsedCodes:
    """The set of codes seen. Merging is exact in any order; memory is at most 2 MiB."""

    def __init__(self, bits_per_token: int) -> None:
        self._is_exact = bits_per_token <= MAX_EXACT_BITS
        self._seen = np.zeros(
            max(1, (1 << bits_per_token) >> 6) if self._is_exact else 1 << _INDEX_BITS,
            np.uint64 if self._is_exact else np.uint8,
        )

    def add(self, words_WN: npt.NDArray[np.uint64]) -> None:
        """Add the words of N tokens, uint64 [W, N]."""
        (_mark if self._is_exact else _sketch)(words_WN, self._seen)

    def merge(self, other: "UsedCodes") -> None:
        """Add the codes that another has seen."""
        (np.bitwise_or if self._is_exact else np.maximum)(self._seen, other._seen, out=self._seen)

    @property
    def count(self) -> int:
        """Number of distinct codes: exact, or the sketch's estimate."""
        return int(np.bitwise_count(self._seen).sum()) if self._is_exact else round(_estimate(self._seen))

    @property
    def relative_error(self) -> float:
        """Relative standard error of ``count``; 0 if it is exact."""
        return 0.0 if self._is_exact else 1.04 / sqrt(len(self._seen))


@compiled
def _mark(words_WN: Any, seen: Any) -> None:
    for place in range(words_WN.shape[1]):
        token = words_WN[0, place]
        seen[np.int64(token >> np.uint64(6))] |= np.uint64(1) << (token & np.uint64(63))


@compiled
def _sketch(words_WN: Any, ranks: Any) -> None:
    """Raise each register to the longest run of leading zeros, plus one, among its hashes."""
    for place in range(words_WN.shape[1]):
        word = np.uint64(0)
        for number in range(len(words_WN)):
            word = splitmix64(word ^ words_WN[number, place])
        register = np.int64(word >> np.uint64(_RANK_BITS))
        # The last bit bounds the run.
        rest = ((word & np.uint64((1 << _RANK_BITS) - 1)) << np.uint64(1)) | np.uint64(1)
        while not rest >> np.uint64(_RANK_BITS + 1 - ranks[register]):
            ranks[register] += 1


def _estimate(ranks: npt.NDArray[Any]) -> float:
    """Ertl's improved raw estimator (his algorithm 6)."""
    registers = len(ranks)
    counts: list[int] = np.bincount(ranks, minlength=_RANK_BITS + 2).tolist()
    z = registers * _tau(1 - counts[_RANK_BITS + 1] / registers)
    for rank in range(_RANK_BITS, 0, -1):
        z = (z + counts[rank]) / 2
    z += registers * _sigma(counts[0] / registers)
    return registers * registers / (2 * log(2) * z)


def _sigma(x: float) -> float:
    if x == 1:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before = sqrt(x), z
        y /= 2
        z -= (1 - x) ** 2 * y
    return z / 3
