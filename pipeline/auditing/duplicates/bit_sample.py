"""Locality-sensitive hashing of codes: bits at drawn places of a clip, in words of 32, one word a band.

Of two clips of one shape that differ in a share d of their bits, a word is the same with probability
(1 - d)^32, and at least one of W words with 1 - (1 - (1 - d)^32)^W (Indyk and Motwani, 1998: bit sampling).
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
"""Finds what was encoded again at a usual rate; clips that have nothing in common differ in half the bits."""

WORD_BITS = 32
MAX_RADIUS = 0.1
MISSED_AT_RADIUS = 0.001
"""At most this share of the pairs that differ by just the radius has no word in common."""

_SPREAD = 5
"""A pair is looked at no further where its words differ by so many standard deviations more than expected."""

Words = npt.NDArray[np.uint32]


def num_words(radius: float) -> int:
    """How many words find pairs at ``radius``, but for ``MISSED_AT_RADIUS`` of them.

    Raises ValueError for a radius that is not in (0, ``MAX_RADIUS``].
    """
    if not 0 < radius <= MAX_RADIUS:
        raise ValueError(f"a radius lies above 0 and is at most {MAX_RADIUS}, not {radius}")
    return ceil(log(MISSED_AT_RADIUS) / log(1 - (1 - radius) ** WORD_BITS))


def missed(distance: float, radius: float) -> float:
    """The probability that a pair that differs in this share of its bits has no word in common."""
    return (1 - (1 - distance) ** WORD_BITS) ** num_words(radius)


def most_differing(radius: float) -> int:
    """How many of two clips' sampled bits may differ, if the clips may lie within ``radius``."""
    bits = num_words(radius) * WORD_BITS
    return ceil(radius * bits + _SPREAD * sqrt(radius * (1 - radius) * bits))


def sample_words(
    codes: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], num_bits: npt.NDArray[np.int64], words: int
) -> Words:
    """The words of n clips that begin at ``starts`` in ``codes`` and have ``num_bits`` bits each: [n, W].

    Places are drawn evenly from all bits of a clip, with replacement: of clips of one length they are the
    same, in every dataset and on every machine.
    """
    out_nW = np.empty((len(starts), words), np.uint32)
    _sample(codes, starts, num_bits, _draws(words), out_nW)
    return out_nW


@lru_cache(maxsize=8)
def _draws(words: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), float64 [W, 32], the same for ever: splitmix64 of their own numbers."""
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
