"""Counts over tokens, compiled: ones of each bit, ones that two bits share, equal frames, groups' values.

Tokens are unpacked indices, uint64; a plane holds one bit of 64 tokens. Everything here counts bits by their
place in the index, the least significant first; code bit 0 is the last. Kernels add to the arrays that they
are given and check nothing. Axes: L bits of a token, F frame numbers, S rows of sources, G groups of a token.
"""

from typing import Any

import numpy as np

from pipeline.auditing.machine_bits import count_ones
from schemas.compiling import compiled

LANES = 4
"""Words of 64 bits that are worked on together: vectors of 256 bits."""
BLOCK_TOKENS = 64 * LANES


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

    ``sources_n`` is each clip's row in ``ones_SL``. ``shared_LL`` takes, below its diagonal, how often two
    bits are both one. ``tallies`` are pairs of consecutive frames, those that are equal, clips, and clips of
    several frames that are all equal.
    """
    bits = ones_L.shape[0]
    planes = np.empty((64, LANES), np.uint64)
    ones = np.empty(bits, np.int64)
    start = 0
    for clip in range(len(shapes_n3)):
        num_frames = shapes_n3[clip, 0]
        size = shapes_n3[clip, 1] * shapes_n3[clip, 2]
        repeated = 0
        for t in range(num_frames):
            ones[:] = 0
            _count_frame(tokens[start : start + size], planes, ones, shared_LL)
            frame, source = min(t, ones_FL.shape[0] - 1), sources_n[clip]
            for bit in range(bits):
                ones_FL[frame, bit] += ones[bit]
                ones_SL[source, bit] += ones[bit]
                ones_L[bit] += ones[bit]
            tokens_F[frame] += size
            tokens_S[source] += size
            if t and _are_equal(tokens, start - size, start, size):
                repeated += 1
            start += size
        tallies[0] += max(num_frames - 1, 0)
        tallies[1] += repeated
        tallies[2] += 1
        tallies[3] += num_frames > 1 and repeated == num_frames - 1


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


@compiled
def _are_equal(tokens: Any, first: int, second: int, count: int) -> bool:
    for place in range(count):  # noqa: SIM110 - no generators in compiled code
        if tokens[first + place] != tokens[second + place]:
            return False
    return True


@compiled
def _count_frame(tokens: Any, planes: Any, ones: Any, shared_LL: Any) -> None:
    """Add a frame's ones, and those that two bits share: by planes, 64 tokens an operation and lane."""
    bits = ones.shape[0]
    width = 64 if bits > 32 else 32 if bits > 16 else 16
    for start in range(0, len(tokens), BLOCK_TOKENS):
        _load(tokens, start, planes, width)
        _transpose(planes, width)
        for first in range(bits):
            count = np.uint64(0)
            for lane in range(LANES):
                count += count_ones(planes[first, lane])
            ones[first] += np.int64(count)
            for second in range(first):
                count = np.uint64(0)
                for lane in range(LANES):
                    count += count_ones(planes[first, lane] & planes[second, lane])
                shared_LL[first, second] += np.int64(count)


@compiled
def _load(tokens: Any, start: int, planes: Any, width: int) -> None:
    """A block of tokens into ``width`` words a lane, narrow ones side by side in a word; zeros follow.

    Which token goes where is no matter: they are only counted.
    """
    for word in range(width):
        for lane in range(LANES):
            planes[word, lane] = 0
        for part in range(64 // width):
            shift = np.uint64(part * width)
            place = start + (part * width + word) * LANES
            for lane in range(min(LANES, len(tokens) - place)):
                planes[word, lane] |= tokens[place + lane] << shift


@compiled
def _transpose(planes: Any, width: int) -> None:
    """Transpose squares of ``width`` bits in each lane: word w's bit b becomes word b's bit w.

    Hacker's Delight (Warren, 2nd edition, section 7-3): squares of half the size are exchanged, and so on.
    """
    step = width >> 1
    while step:
        mask = ~np.uint64(0) // ((np.uint64(1) << np.uint64(step)) + np.uint64(1))
        shift = np.uint64(step)
        for base in range(0, width, 2 * step):
            for low in range(base, base + step):
                for lane in range(LANES):
                    swap = ((planes[low, lane] >> shift) ^ planes[low + step, lane]) & mask
                    planes[low + step, lane] ^= swap
                    planes[low, lane] ^= swap << shift
        step >>= 1
