from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitmill.bsq_model.coding.frequencies import TOTAL, frequencies_of_logits, frequencies_of_weights
from bitmill.schemas.errors import UsageError

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 9).map(lambda bits: 1 << bits)),
    elements=st.floats(-200, 200, width=32) | st.sampled_from([0.0, -0.0, 1e-30, 3e38, -3e38, -np.inf]),
).filter(lambda logits: np.isfinite(logits.max(1)).all())

KNOWN = [[2573826, 6996056, 211280, 6996054], [8392866, 1, 1, 8384348]]


@given(LOGITS)
def test_every_value_can_be_coded_and_frequencies_sum_to_the_total(logits):
    frequencies = frequencies_of_logits(logits)
    assert frequencies.dtype == np.int64
    assert frequencies.min() >= 1
    assert (frequencies.sum(1) == TOTAL).all()


@given(LOGITS)
def test_frequencies_are_near_the_probabilities(logits):
    exact = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True).astype(np.float64))
    exact /= exact.sum(1, keepdims=True)
    found = frequencies_of_logits(logits) / TOTAL
    floor = logits.shape[1] / TOTAL
    # The exponent is off by at most half of 1/4096 octave, for the value and for the sum.
    assert (np.abs(found - exact) <= exact * 2.0e-4 + 2 * floor).all()


@given(LOGITS.filter(lambda logits: np.abs(logits[np.isfinite(logits)]).max() < 1e3), st.randoms())
def test_a_row_is_for_itself_and_ties_follow_the_order(logits, random):
    rows = frequencies_of_logits(logits)
    for row, alone in zip(rows, logits, strict=True):
        assert (frequencies_of_logits(alone[None])[0] == row).all()
    order = list(range(logits.shape[1]))
    random.shuffle(order)
    again = frequencies_of_logits(logits[:, order])
    # Only the remainder, which goes to the first of the largest, may move.
    # (Logits closer than a step of the exponent are equal.)
    largest = logits > logits.max(1, keepdims=True).astype(np.float64) - 2e-4
    assert (np.sort(again, 1) == np.sort(rows, 1)).all()
    assert (again == rows[:, order])[~largest[:, order]].all()


@given(hnp.arrays(np.int64, (1, 8), elements=st.integers(0, 1 << 30)).filter(lambda w: w.sum() > 0))
def test_weights_follow_the_documented_rule(weights):
    row = [int(weight) for weight in weights[0]]
    expected = [1 + int(Fraction(w * (2**24 - 8), sum(row))) for w in row]
    expected[row.index(max(row))] += 2**24 - sum(expected)
    assert frequencies_of_weights(weights)[0].tolist() == expected


def test_known_logits_keep_their_frequencies():
    logits = np.array([[0.0, 1.0, -2.5, 1.0], [5.0, -np.inf, -50.0, 4.999]], np.float32)
    assert frequencies_of_logits(logits).tolist() == KNOWN


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(UsageError, match="not finite"):
        frequencies_of_logits(np.array([bad], np.float32))


def test_logits_of_another_type_are_refused():
    with pytest.raises(ValueError, match="float32"):
        frequencies_of_logits(np.zeros((1, 2)))
