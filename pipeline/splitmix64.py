"""splitmix64 (Steele, Lea, Flood 2014): hashes, keys and permutations independent of library versions.

NumPy does not guarantee the same random numbers in later versions; the shuffle order of a run that lasts
months needs that guarantee.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def derive_key(*parts: int) -> int:
    """Returns a 64-bit key from integers in order; changing any of them yields an unrelated key."""
    key = 0
    for part in parts:
        key = _mix_one((key ^ (part & _MASK)) + _GOLDEN)
    return key


def permutation(count: int, key: int) -> npt.NDArray[np.int64]:
    """Returns a pseudorandom permutation of 0 to ``count`` - 1: sorted by their hashes under ``key``."""
    return np.argsort(_hashes(count, np.uint64(key)), kind="stable")


def mixed(values: npt.NDArray[np.uint64], key: int = 0) -> npt.NDArray[np.uint64]:
    """Returns each number's hash under ``key``, uint64 of the same shape; distinct numbers never collide."""
    return _mixed(values.reshape(-1), np.uint64(key)).reshape(values.shape)


def _mix_one(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


@compiled
def _hashes(count: int, key: Any) -> Any:
    hashes = np.empty(count, np.uint64)
    for number in range(count):
        hashes[number] = splitmix64(key + np.uint64(number) * np.uint64(_GOLDEN))
    return hashes


@compiled
def _mixed(values: Any, key: Any) -> Any:
    hashes = np.empty(len(values), np.uint64)
    for number in range(len(values)):
        hashes[number] = splitmix64(values[number] ^ key)
    return hashes


@compiled_within
def splitmix64(value: Any) -> Any:
    """Returns the hash of one uint64, a bijection; for use in compiled functions."""
    value = value + np.uint64(_GOLDEN)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
    return value ^ (value >> np.uint64(31))
