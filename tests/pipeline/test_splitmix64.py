"""The order is splitmix64's, written here a second time in Python's integers, and stays what it is."""

import numpy as np
import pytest

from bitmill.pipeline.splitmix64 import derive_key, permutation

_WORD = 2**64


def splitmix64(state: int) -> int:
    """The published generator's output for a state (Steele, Lea, Flood 2014)."""
    z = (state + 0x9E3779B97F4A7C15) % _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % _WORD
    return z ^ (z >> 31)


def test_the_generator_is_the_published_one():
    # The first outputs of the reference implementation for seed 1234567 (Vigna's splitmix64.c).
    states = [1234567 + step * 0x9E3779B97F4A7C15 for step in range(3)]
    assert [splitmix64(state) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_numbers_are_sorted_by_their_hashes(count, key):
    hashes = [splitmix64(key + number * 0x9E3779B97F4A7C15) for number in range(count)]
    assert permutation(count, key).tolist() == sorted(range(count), key=hashes.__getitem__)


def test_golden_permutations():
    """A run of months depends on these: another order here is a new format of the training state."""
    assert permutation(10, 0).tolist() == [2, 4, 6, 8, 5, 1, 7, 0, 9, 3]
    assert permutation(10, derive_key(7, 1, 2)).tolist() == [5, 6, 0, 9, 2, 4, 3, 1, 7, 8]


def test_golden_keys():
    assert derive_key() == 0
    assert derive_key(0) == splitmix64(0)
    assert derive_key(7, -1) == splitmix64(splitmix64(7) ^ (_WORD - 1))
    assert derive_key(7, 1, 2) == 1650069959653123811


def test_keys_are_of_64_bits_and_take_any_integer():
    for parts in [(-1,), (2**64 - 1,), (-(2**63), 5), (2**80, 0)]:
        assert 0 <= derive_key(*parts) < _WORD
    assert derive_key(-1) == derive_key(2**64 - 1)


def test_each_part_and_their_order_count():
    keys = [derive_key(*parts) for parts in np.ndindex(12, 12, 12)]
    assert len(set(keys)) == len(keys)
    assert derive_key(1) != derive_key(1, 0) != derive_key(0, 1)
