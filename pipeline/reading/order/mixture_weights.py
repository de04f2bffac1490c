"""Chooses the dataset for each place of a lane, and counts earlier choices, both in closed form.

Place n of a lane maps to n·φ (mod 1), shifted by the lane's key; the dataset is the one whose weight
interval, laid end to end, contains that point. Golden-ratio steps spread each share evenly (the counts stay
within O(log n) of n·w). How many of the first n fall into an interval is a sum of floors, which Euclid's
algorithm computes in O(log n); so a mixture can resume anywhere.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

_STEP = 0x9E3779B97F4A7C15
_TURN = 1 << 64


def thresholds(weights: list[float]) -> list[int]:
    """Upper ends of the weights' intervals in [0, 2^64]; the last is 2^64."""
    total = sum(weights)
    ends: list[int] = []
    reached = 0.0
    for weight in weights:
        reached += weight
        ends.append(min(_TURN, round(reached / total * _TURN)))
    ends[-1] = _TURN
    return ends


def choices(first: int, count: int, ends: list[int], key: int) -> npt.NDArray[np.int64]:
    """Dataset numbers of places [first, first + count), int64 [count]."""
    with np.errstate(over="ignore"):
        places = np.arange(count, dtype=np.uint64) + np.uint64(first)
        turns = places * np.uint64(_STEP) + np.uint64(key % _TURN)
    # A dataset whose weight is 2^53 times smaller than another's gets no share: earlier ends can also be
    # 2^64.
    inner = np.array([end for end in ends[:-1] if end < _TURN], dtype=np.uint64)
    return np.searchsorted(inner, turns, side="right").astype(np.int64, copy=False)


def counts_before(place: int, ends: list[int], key: int) -> list[int]:
    """How many of the places [0, ``place``) each dataset has."""
    below = [0, *(_count_below(place, end, key % _TURN) for end in ends)]
    return [high - low for low, high in pairwise(below)]


def _count_below(place: int, end: int, key: int) -> int:
    """The number of n in [0, place) with (n·step + key) mod 2^64 < end."""
    if end >= _TURN:
        return place
    whole = _floor_sum(place, _TURN, _STEP, key)
    return whole - _floor_sum(place, _TURN, _STEP, key - end + _TURN) + place


def _floor_sum(count: int, divisor: int, factor: int, offset: int) -> int:
    """The sum of floor((factor·n + offset) / divisor) over n in [0, count), all non-negative (Euclid)."""
    total = 0
    while count > 0:
        total += (count - 1) * count // 2 * (factor // divisor) + count * (offset // divisor)
        factor, offset = factor % divisor, offset % divisor
        reach = factor * count + offset
        if reach < divisor:
            break
        count, offset = divmod(reach, divisor)
        divisor, factor = factor, divisor
    return total
