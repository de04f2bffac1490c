"""Compiled counts over the bits of tokens: ones per bit, ones shared by two bits, values of groups of bits.

Tokens are unpacked words, uint64; a plane contains one bit of 64 tokens. Everything here counts bits by their
place in the index, the least significant first. Kernels add to the arrays that they are given and check
nothing. Axes: N tokens, W words of a token, L bits, F numbers of token rows, S rows of sources, G groups.
"""

from typing import Any

import numpy as np

from bitmill.pipeline.auditing.count_ones import count_ones
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

_COLUMNS = 128
"""Words of a plane that are processed together: 64 planes of them stay in the L1 and L2 caches."""


@compiled
def count_bits(  # noqa: PLR0917
    words_WN: Any, rows_n2: Any, sources_n: Any, ones_FL: Any, ones_SL: Any, ones_L: Any, shared_LL: Any
) -> None:
    """Count the bits of clips that lie end to end in ``words_WN``; rows from F - 1 on count as row F - 1.

    ``rows_n2`` is each clip's number of token rows and of tokens in a row, ``sources_n`` its row in
    ``ones_SL``. ``shared_LL`` receives, below its diagonal, how often two bits are both one.
    """
    bits, num_words = ones_L.shape[0], len(words_WN)
    width = 64 if bits > 32 else 32 if bits > 16 else 16
    planes = np.empty((64 * num_words, _COLUMNS), np.uint64)
    # One entry per token row, or per piece of a large one: end column, row number, source.
    pieces = np.empty((_COLUMNS, 3), np.int64)
    start = used = num_pieces = 0
    for clip in range(len(rows_n2)):
        size = rows_n2[clip, 1]
        for row in range(rows_n2[clip, 0]):
            for first in range(start, start + size, 64 * _COLUMNS):
                end = min(first + 64 * _COLUMNS, start + size)
                columns = (end - first + 63) >> 6
                if used + columns > _COLUMNS:
                    _count(planes, used, width, pieces[:num_pieces], ones_FL, ones_SL, ones_L, shared_LL)
                    used = num_pieces = 0
                for word in range(num_words):
                    own = planes[64 * word : 64 * (word + 1)]
                    _load(words_WN[word][first:end], own, used, columns, width)
                used += columns
                pieces[num_pieces, 0] = used
                pieces[num_pieces, 1] = min(row, ones_FL.shape[0] - 1)
                pieces[num_pieces, 2] = sources_n[clip]
                num_pieces += 1
            start += size
    _count(planes, used, width, pieces[:num_pieces], ones_FL, ones_SL, ones_L, shared_LL)


@compiled
def count_groups(words_WN: Any, group_bits: int, counts_GK: Any) -> None:
    """Add each group's value to its row of ``counts_GK``, [L/g, 2^g]; the last has the lowest bits."""
    num_groups = len(counts_GK)
    mask = (np.uint64(1) << np.uint64(group_bits)) - np.uint64(1)
    for group in range(num_groups):
        counts, first = counts_GK[num_groups - 1 - group], group * group_bits
        words, shift = words_WN[first >> 6], np.uint64(first & 63)
        if (first & 63) + group_bits <= 64:
            for word in words:
                counts[np.int64((word >> shift) & mask)] += 1
        else:
            others, rest = words_WN[(first >> 6) + 1], np.uint64(64) - shift
            for token in range(len(words)):
                counts[np.int64((words[token] >> shift | others[token] << rest) & mask)] += 1


@compiled_within
def _count(  # noqa: PLR0917
    planes: Any, used: int, width: int, pieces: Any, ones_FL: Any, ones_SL: Any, ones_L: Any, shared_LL: Any
) -> None:
    """Add the ones of all pieces, and those shared by two bits: 64 tokens per operation."""
    for first in range(0, len(planes), 64):
        _transpose(planes[first : first + 64], used, width)
    for bit in range(len(ones_L)):
        first = 0
        for piece in range(len(pieces)):
            ones = np.uint64(0)
            for column in range(first, pieces[piece, 0]):
                ones += count_ones(planes[bit, column])
            first = pieces[piece, 0]
            ones_FL[pieces[piece, 1], bit] += np.int64(ones)
            ones_SL[pieces[piece, 2], bit] += np.int64(ones)
            ones_L[bit] += np.int64(ones)
        for other in range(bit):
            shared = np.uint64(0)
            for column in range(used):
                shared += count_ones(planes[bit, column] & planes[other, column])
            shared_LL[bit, other] += np.int64(shared)


@compiled_within
def _load(words: Any, planes: Any, start: int, columns: int, width: int) -> None:
    """Load a word of each token into ``width`` words per column, several narrow ones per word; the rest is
    zero.

    The order of tokens does not matter, because they are only counted.
    """
    for word in range(width):
        for column in range(start, start + columns):
            planes[word, column] = 0
        for part in range(64 // width):
            shift = np.uint64(part * width)
            place = (part * width + word) * columns
            for column in range(min(columns, len(words) - place)):
                planes[word, start + column] |= words[place + column] << shift


@compiled_within
def _transpose(planes: Any, used: int, width: int) -> None:
    """Transpose squares of ``width`` bits in each column: word w's bit b becomes word b's bit w.

    Recursive exchange of half-size squares (Hacker's Delight, Warren, 2nd edition, section 7-3).
    """
    step = width >> 1
    while step:
        mask = ~np.uint64(0) // ((np.uint64(1) << np.uint64(step)) + np.uint64(1))
        shift = np.uint64(step)
        for base in range(0, width, 2 * step):
            for low in range(base, base + step):
                for column in range(used):
                    swap = ((planes[low, column] >> shift) ^ planes[low + step, column]) & mask
                    planes[low + step, column] ^= swap
                    planes[low, column] ^= swap << shift
        step >>= 1
