"""Laws of the pseudo-random order: each key gives a permutation, and unrelated ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.splitmix64 import derive_key, permutation

KEYS = st.integers(0, 2**64 - 1)


@given(st.integers(0, 3000), KEYS)
def test_each_number_comes_once(count, key):
    order = permutation(count, key)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(count))


@given(KEYS, KEYS)
def test_other_keys_give_other_orders(key, other):
    same = np.array_equal(permutation(60, key), permutation(60, other))
    assert same == (key == other)


@given(st.lists(st.integers(), max_size=4), st.integers(0, 3), st.integers(1, 2**63))
def test_a_change_of_one_part_gives_another_key(parts, place, change):
    if place < len(parts):
        changed = [*parts[:place], parts[place] + change, *parts[place + 1 :]]
        assert derive_key(*changed) != derive_key(*parts)


def test_every_place_is_equally_likely():
    """Where number 0 of 8 lands under 8,000 derived keys: about 1,000 times in each place."""
    places = np.zeros(8, np.int64)
    for seed in range(8000):
        places[permutation(8, derive_key(3, seed)).tolist().index(0)] += 1
    # Five standard deviations of a binomial count.
    assert np.all(np.abs(places - 1000) < 5 * np.sqrt(1000 * 7 / 8))
