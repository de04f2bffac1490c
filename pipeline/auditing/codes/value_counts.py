"""Compiled counts over tokens of any code: equal rows, and how often each value of a dimension occurs.

Tokens are unpacked words, uint64 [W, N]. Kernels add to the arrays that they are given and check nothing; a
token's index must be below the number of codes. Axes: F numbers of token rows, S rows of sources, V values of
all dimensions, one after the other.
"""

from typing import Any

import numpy as np

from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within


@compiled
def count_rows(  # noqa: PLR0917
    words_WN: Any, rows_n2: Any, sources_n: Any, tokens_F: Any, tokens_S: Any, tallies: Any
) -> None:
    """Count tokens by row number and source, and rows that repeat; rows from F - 1 on count as row F - 1.

    ``rows_n2`` is each clip's number of token rows and of tokens in a row. ``tallies`` are pairs of
    consecutive rows, equal pairs among them, clips, and clips of several rows that are all equal.
    """
    start = 0
    for clip in range(len(rows_n2)):
        num_rows, size, repeated = rows_n2[clip, 0], rows_n2[clip, 1], 0
        for row in range(num_rows):
            tokens_F[min(row, len(tokens_F) - 1)] += size
            tokens_S[sources_n[clip]] += size
            if row and _are_equal(words_WN, start - size, start, size):
                repeated += 1
            start += size
        tallies[0] += max(num_rows - 1, 0)
        tallies[1] += repeated
        tallies[2] += 1
        tallies[3] += num_rows > 1 and repeated == num_rows - 1


@compiled
def count_values(  # noqa: PLR0917
    words_WN: Any, rows_n2: Any, sources_n: Any, bases: Any, counts_FV: Any, counts_SV: Any, counts_V: Any
) -> None:
    """Count the values of each dimension of clips that lie end to end in ``words_WN``.

    ``bases`` are the numbers of values, those of the least significant dimension first, in the order of V.
    ``counts_FV`` and ``counts_SV`` may have no columns; then only ``counts_V`` counts.
    """
    token = 0
    for clip in range(len(rows_n2)):
        for row in range(rows_n2[clip, 0]):
            frame = min(row, counts_FV.shape[0] - 1)
            for _ in range(rows_n2[clip, 1]):
                rest, first = words_WN[0, token], 0
                for base in bases:
                    value = first + np.int64(rest % np.uint64(base))
                    rest //= np.uint64(base)
                    first += base
                    counts_V[value] += 1
                    if counts_FV.shape[1]:
                        counts_FV[frame, value] += 1
                        counts_SV[sources_n[clip], value] += 1
                token += 1


@compiled_within
def _are_equal(words_WN: Any, first: int, second: int, count: int) -> bool:
    for word in words_WN:
        for place in range(count):
            if word[first + place] != word[second + place]:
                return False
    return True
