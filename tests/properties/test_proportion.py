"""Laws of mixing by weight: counts in closed form are those of counting, from any place, near the shares."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.order.mixture_weights import choices, counts_before, thresholds

KEYS = st.integers(0, 2**64 - 1)
WEIGHTS = st.lists(st.floats(1e-30, 1e30) | st.integers(1, 100).map(float), min_size=1, max_size=6)


@given(WEIGHTS)
def test_ends_rise_to_a_whole_turn(weights):
    ends = thresholds(weights)
    assert len(ends) == len(weights)
    assert ends == sorted(ends)
    assert ends[0] >= 0
    assert ends[-1] == 2**64


@given(st.lists(st.integers(1, 100).map(float), min_size=1, max_size=6))
def test_intervals_are_as_long_as_the_weights_say(weights):
    ends = thresholds(weights)
    lengths = np.diff([0, *ends]).astype(float) / 2**64
    assert np.allclose(lengths, np.array(weights) / sum(weights), rtol=0, atol=1e-12)


@given(WEIGHTS, st.integers(0, 400), KEYS)
def test_counts_before_a_place_are_those_of_counting(weights, place, key):
    ends = thresholds(weights)
    chosen = choices(0, place, ends, key)
    assert counts_before(place, ends, key) == np.bincount(chosen, minlength=len(weights)).tolist()


@given(WEIGHTS, st.integers(0, 2**40), st.integers(0, 300), KEYS)
def test_counts_go_on_from_any_place(weights, first, count, key):
    ends = thresholds(weights)
    before, behind = counts_before(first, ends, key), counts_before(first + count, ends, key)
    between = np.bincount(choices(first, count, ends, key), minlength=len(weights)).tolist()
    assert [high - low for low, high in zip(before, behind, strict=True)] == between
    assert sum(behind) == first + count


@given(WEIGHTS, st.integers(0, 2**40), st.integers(0, 200), st.integers(0, 200), KEYS)
def test_the_sequence_does_not_depend_on_where_it_is_begun(weights, first, count, skipped, key):
    ends = thresholds(weights)
    skipped = min(skipped, count)
    whole = choices(first, count, ends, key)
    assert np.array_equal(whole[skipped:], choices(first + skipped, count - skipped, ends, key))


@given(st.lists(st.integers(1, 100).map(float), min_size=1, max_size=5), st.integers(0, 2**31), KEYS)
def test_counts_stay_close_to_the_shares(weights, place, key):
    """Each count is within the discrepancy of the golden ratio's steps, which grows with the logarithm.

    The golden ratio's continued fraction has only ones, so that an interval's count among n steps differs
    from n·share by less than 3 + log(n) / log(φ²), twice that for one between two ends.
    """
    ends = thresholds(weights)
    counts = counts_before(place, ends, key)
    bound = 2 * (3 + np.log(max(place, 1)) / (2 * np.log((1 + 5**0.5) / 2)))
    for count, low, high in zip(counts, [0, *ends], ends, strict=False):
        share = (high - low) * place / 2**64
        assert abs(count - share) <= bound


def test_golden_choices():
    """Places of a mixture of 0.7, 0.2 and 0.1: a run of months depends on them."""
    ends = thresholds([0.7, 0.2, 0.1])
    assert choices(0, 20, ends, 0).tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1]
