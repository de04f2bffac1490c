"""Locality-sensitive hashing of codes: sampled bits of a clip, in 32-bit words, one word per band.

For two clips of one shape that differ in a share d of their bits, a word is equal with probability (1 -
d)^32, and at least one of W words with 1 - (1 - (1 - d)^32)^W (Indyk and Motwani, 1998: bit sampling).

Axes: n clips, W words.
"""

from functools import lru_cache
from math import ceil, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.splitmix64 import mixed
from bitmill.schemas.compiled_code.numba_compile import compiled

DEFAULT_RADIUS = 0.05
"""Finds re-encoded copies at usual bit rates; unrelated clips differ in half the bits."""

WORD_BITS = 32
MAX_RADIUS = 0.1
MISSED_AT_RADIUS = 0.001
"""Maximum share of pairs at exactly the radius that have no word in common."""

_SPREAD = 5
"""A pair is dropped if its words differ by this many standard deviations more than expected."""

Words = npt.NDArray[np.uint32]


def num_words(radius: float) -> int:
    """The number of words that finds pairs at ``radius``, except a share of ``MISSED_AT_RADIUS``.

    Raises ValueError for a radius that is not in (0, ``MAX_RADIUS``].
    """
    if not 0 < radius <= MAX_RADIUS:
        raise ValueError(f"radius must be above 0 and at most {MAX_RADIUS}, not {radius}")
    return ceil(log(MISSED_AT_RADIUS) / log(1 - (1 - radius) ** WORD_BITS))


def missed(distance: float, radius: float) -> float:
    """The probability that a pair that differs in this share of its bits has no word in common."""
    return (1 - (1 - distance) ** WORD_BITS) ** num_words(radius)


def most_differing(radius: float) -> int:
    """The maximum number of differing sampled bits of two clips that may lie within ``radius``."""
    bits = num_words(radius) * WORD_BITS
    return ceil(radius * bits + _SPREAD * sqrt(radius * (1 - radius) * bits))


def sample_words(
    codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], num_bits: npt.NDArray[np.int64], words: int
) -> Words:
    """The words of n clips that begin at ``starts`` in ``codes`` and have ``num_bits`` bits each: [n, W].

    Places are drawn uniformly from all bits of a clip, with replacement: for clips of one length they are the
    same in every dataset and on every machine.
    """
    out_nW = np.empty((len(starts), words), np.uint32)
    _sample(codes, starts, num_bits, _draws(words), out_nW)
    return out_nW


@lru_cache(maxsize=8)
def _draws(words: int) -> npt.NDArray[np.float64]:
    """Fixed numbers in [0, 1), float64 [W, 32]: splitmix64 of their indices."""
    hashes = mixed(np.arange(words * WORD_BITS, dtype=np.uint64))
    return ((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(words, WORD_BITS)


@compiled
def _sample(codes: Any, starts: Any, num_bits: Any, draws: Any, out_nW: Any) -> None:
    for clip in range(len(starts)):
        start, bits = starts[clip], num_bits[clip]
        for word in range(draws.shape[0]):
            value = np.uint32(0)
            for place in range(draws.shape[1]):
                position = np.int64(draws[word, place] * bits)
                bit = (codes[start + (position >> 3)] >> (position & 7)) & 1
                value |= np.uint32(bit) << np.uint32(place)
            out_nW[clip, word] = value
