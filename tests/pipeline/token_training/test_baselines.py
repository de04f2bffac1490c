"""What coders without a model need, against sums by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.token_models.token_layers import values_of_bits
from bitmill.pipeline.token_training.baselines import adaptive_values, static_values, zstd
from bitmill.schemas.models.geometry import Code


def _adaptive(bits: np.ndarray, group_bits: int) -> float:
    return adaptive_values(*_groups(bits, group_bits))


def _static(bits: np.ndarray, group_bits: int) -> float:
    return static_values(*_groups(bits, group_bits))


def _groups(bits: np.ndarray, group_bits: int) -> tuple[np.ndarray, tuple[int, ...]]:
    values = values_of_bits(torch.from_numpy(bits), group_bits).numpy()
    return values, (1 << group_bits,) * values.shape[1]


@given(values=st.lists(st.integers(0, 15), min_size=1, max_size=40), group_bits=st.sampled_from([1, 2, 4]))
def test_adaptive_groups_cost_what_a_coder_would_pay_token_by_token(values, group_bits) -> None:
    bits = (np.array(values)[:, None] >> np.arange(3, -1, -1) & 1).astype(bool)
    paid = 0.0
    for group in range(4 // group_bits):
        counts = [0.5] * 2**group_bits
        for token in bits[:, group * group_bits : (group + 1) * group_bits]:
            value = int("".join("01"[int(bit)] for bit in token), 2)
            paid -= math.log2(counts[value] / sum(counts))
            counts[value] += 1
    assert _adaptive(bits, group_bits) == pytest.approx(paid / len(values), abs=1e-9)


@given(seed=st.integers(0, 99), tokens=st.integers(1, 200))
def test_more_context_and_free_tables_never_cost_more(seed, tokens) -> None:
    bits = np.random.default_rng(seed).random((tokens, 6)) < 0.3
    assert _static(bits, 3) <= _static(bits, 1) + 1e-9
    assert _static(bits, 3) <= _adaptive(bits, 3) + 1e-9


def test_even_bits_cost_themselves_and_zstd_gains_nothing_on_them() -> None:
    bits = np.random.default_rng(0).random((4096, 18)) < 0.5
    assert _static(bits, 1) == pytest.approx(18, abs=0.01)
    assert zstd(bits, Code.of_bits(18)) == pytest.approx(18, abs=0.1)
    assert zstd(np.zeros((4096, 18), bool), Code.of_bits(18)) < 0.2
