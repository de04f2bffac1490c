"""Rates and weights over the steps, at the points where they bend."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.training.training_schedule import average_decay, entropy_weight, learning_rate_share
from bitmill.schemas.requests.training import EntropySpec, OptimizerSpec


def test_the_rate_climbs_peaks_and_ends_at_its_share():
    optimizer = OptimizerSpec(warmup_steps=10, final_share=0.5)
    shares = [learning_rate_share(step, steps=111, optimizer=optimizer) for step in range(111)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[60] == pytest.approx(0.5 + 0.5 * (1 + 0.0109) / 2, abs=0.01)
    assert shares[110] == pytest.approx(0.5, abs=1e-3)
    assert all(a >= b for a, b in itertools.pairwise(shares[10:]))


@given(steps=st.integers(1, 200), warmup=st.integers(0, 300), final=st.floats(0, 1))
def test_the_rate_is_always_a_share(steps, warmup, final):
    optimizer = OptimizerSpec(warmup_steps=warmup, final_share=final)
    for step in range(steps):
        assert 0 <= learning_rate_share(step, steps=steps, optimizer=optimizer) <= 1


def test_the_entropy_weight_falls_from_three_times_to_once():
    entropy = EntropySpec(weight=0.1, ramp_from=3, ramp_steps=2000)
    assert entropy_weight(0, entropy) == pytest.approx(0.3)
    assert entropy_weight(1000, entropy) == pytest.approx(0.2)
    assert entropy_weight(2000, entropy) == entropy_weight(10**6, entropy) == 0.1
    assert entropy_weight(0, EntropySpec(weight=0.1, ramp_steps=0)) == 0.1


def test_the_average_forgets_the_start_before_it_slows():
    assert average_decay(1, 0.999) < 0.2
    assert average_decay(10**6, 0.999) == 0.999
    assert average_decay(5, 0.0) == 0.0
