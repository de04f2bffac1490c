"""Compiled counts over tokens: ones per bit, ones shared by two bits, equal frames, group values.

Tokens are unpacked indices, uint64; a plane contains one bit of 64 tokens. Everything here counts bits by
their place in the index, the least significant first; code bit 0 is the last. Kernels add to the arrays that
they are given and check nothing. Axes: L bits of a token, F frame numbers, S rows of sources, G groups of a
token.
"""

from typing import Any

import numpy as np

from bitmill.pipeline.auditing.count_ones import count_ones
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

_COLUMNS = 128
"""Words of a plane that are processed together: 64 planes of them stay in the L1 and L2 caches."""


@compiled
def count_clips(  # noqa: PLR0917
    tokens: Any,
    shapes_n3: Any,
    sources_n: Any,
    ones_FL: Any,
    ones_SL: Any,
    ones_L: Any,
    tokens_F: Any,
    tokens_S: Any,
    shared_LL: Any,
    tallies: Any,
) -> None:
    """Count clips that lie end to end in ``tokens``; frames from F - 1 on count as frame F - 1.

    ``sources_n`` is each clip's row in ``ones_SL``. ``shared_LL`` receives, below its diagonal, how often two
    bits are both one. ``tallies`` are pairs of consecutive frames, equal pairs among them, clips, and clips
    of several frames that are all equal.
    """
    bits = ones_L.shape[0]
    width = 64 if bits > 32 else 32 if bits > 16 else 16
    planes = np.empty((64, _COLUMNS), np.uint64)
    # One row per frame, or per piece of a large frame: end column, frame number, source row.
    pieces = np.empty((_COLUMNS, 3), np.int64)
    start = used = num_pieces = 0
    for clip in range(len(shapes_n3)):
        num_frames = shapes_n3[clip, 0]
        size = shapes_n3[clip, 1] * shapes_n3[clip, 2]
        repeated = 0
        for t in range(num_frames):
            frame, source = min(t, ones_FL.shape[0] - 1), sources_n[clip]
            for first in range(start, start + size, 64 * _COLUMNS):
                piece = tokens[first : min(first + 64 * _COLUMNS, start + size)]
                columns = (len(piece) + 63) >> 6
                if used + columns > _COLUMNS:
                    _count(planes, used, width, pieces[:num_pieces], ones_FL, ones_SL, ones_L, shared_LL)
                    used = num_pieces = 0
                _load(piece, planes, used, columns, width)
                used += columns
                pieces[num_pieces, 0], pieces[num_pieces, 1], pieces[num_pieces, 2] = used, frame, source
                num_pieces += 1
            tokens_F[frame] += size
            tokens_S[source] += size
            if t and _are_equal(tokens, start - size, start, size):
                repeated += 1
            start += size
        tallies[0] += max(num_frames - 1, 0)
        tallies[1] += repeated
        tallies[2] += 1
        tallies[3] += num_frames > 1 and repeated == num_frames - 1
    _count(planes, used, width, pieces[:num_pieces], ones_FL, ones_SL, ones_L, shared_LL)


@compiled
def count_groups(tokens: Any, group_bits: int, counts_GK: Any) -> None:
    """Add each group's value to its row of ``counts_GK``, [L/g, 2^g]; group 0 has the first code bits."""
    last = counts_GK.shape[0] - 1
    mask = (np.uint64(1) << np.uint64(group_bits)) - np.uint64(1)
    for place in range(len(tokens)):
        word = tokens[place]
        for group in range(last, -1, -1):
            counts_GK[group, np.int64(word & mask)] += 1
            word >>= np.uint64(group_bits)


@compiled_within
def _are_equal(tokens: Any, first: int, second: int, count: int) -> bool:
    for place in range(count):  # noqa: SIM110 - no generators in compiled code
        if tokens[first + place] != tokens[second + place]:
            return False
    return True


@compiled_within
def _count(  # noqa: PLR0917
    planes: Any, used: int, width: int, pieces: Any, ones_FL: Any, ones_SL: Any, ones_L: Any, shared_LL: Any
) -> None:
    """Add the ones of all pieces, and those shared by two bits: 64 tokens per operation."""
    _transpose(planes, used, width)
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
def _load(tokens: Any, planes: Any, start: int, columns: int, width: int) -> None:
    """Load tokens into ``width`` words per column, several narrow tokens per word; the rest is zero.

    The order of tokens does not matter, because they are only counted.
    """
    for word in range(width):
        for column in range(start, start + columns):
            planes[word, column] = 0
        for part in range(64 // width):
            shift = np.uint64(part * width)
            place = (part * width + word) * columns
            for column in range(min(columns, len(tokens) - place)):
                planes[word, start + column] |= tokens[place + column] << shift


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
