"""Finite scalar quantization against its formula in float64, and back."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.bottleneck.fsq import digits_of_latents, rounded, values_of_digits

LEVELS = [(8, 8, 8, 5, 5, 5), (2, 3), (7, 6, 5, 3)]


def _digit(latent: float, levels: int) -> float:
    half = (levels - 1) * 1.001 / 2
    offset = 0.0 if levels % 2 else 0.5
    return round(math.tanh(latent + math.atanh(offset / half)) * half - offset) + levels // 2


@pytest.mark.parametrize("levels", LEVELS)
def test_digits_are_those_of_the_formula(levels):
    latents = torch.randn(500, len(levels), generator=torch.Generator().manual_seed(1)) * 2
    digits = digits_of_latents(latents, levels)
    assert digits.dtype == torch.int64
    expected = [[_digit(v, n) for v, n in zip(row, levels, strict=True)] for row in latents.tolist()]
    assert digits.tolist() == expected


@pytest.mark.parametrize("levels", LEVELS)
def test_every_digit_is_reached_and_none_beyond(levels):
    latents = torch.linspace(-1e4, 1e4, 7)[:, None].expand(-1, len(levels))
    digits = digits_of_latents(
        torch.cat((latents, torch.linspace(-9, 9, 999)[:, None].expand(-1, len(levels)))), levels
    )
    for dimension, count in enumerate(levels):
        assert digits[:, dimension].unique().tolist() == list(range(count))


@given(count=st.integers(2, 1 << 30), latent=st.floats(-1e4, 1e4, width=32))
def test_digits_lie_within_their_levels_however_many(count, latent):
    latents = torch.tensor([[latent], [-1e4], [1e4]])
    digits = digits_of_latents(latents, [count])
    assert bool(((digits >= 0) & (digits < count)).all())
    assert torch.equal(rounded(latents, [count]), values_of_digits(digits, [count]))


def test_values_are_steps_around_zero():
    digits = torch.arange(8)[:, None]
    assert values_of_digits(digits, [8])[:, 0].tolist() == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]
    assert values_of_digits(digits[:5], [5])[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
