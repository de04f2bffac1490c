"""The entropy penalty against the formula over all 2^L corners, written out."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.bottleneck.bsq import normalise
from bitmill.bsq_model.bottleneck.entropy import entropy_terms


def _latents(seed, num_tokens, num_bits):
    generator = torch.Generator().manual_seed(seed)
    return normalise(torch.randn(num_tokens, num_bits, generator=generator))


def _soft_assignment(u_ML, tau):
    """q(c|u) over all corners, in order of the index whose first bit is the most significant: [M, 2^L]."""
    num_bits = u_ML.shape[-1]
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=num_bits))).double() / num_bits**0.5
    return torch.softmax(2 * tau * u_ML.double() @ corners.T, dim=-1)


def _entropy(q):
    return -(q * q.log()).sum(-1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 7), st.floats(0.1, 5))
def test_terms_are_those_of_the_soft_assignment_over_all_corners(seed, num_tokens, num_bits, tau):
    u = _latents(seed, num_tokens, num_bits)
    q = _soft_assignment(u, tau)
    terms = entropy_terms(u, inv_temperature=tau, group_bits=num_bits)
    assert terms.per_token.item() == pytest.approx(_entropy(q).mean().item(), abs=1e-4)
    assert terms.of_mean.item() == pytest.approx(_entropy(q.mean(0)).item(), abs=1e-4)


def test_smaller_groups_bound_the_entropy_of_the_mean_from_above():
    u = _latents(1, 50, 6)
    of_mean = [entropy_terms(u, inv_temperature=3.0, group_bits=g).of_mean.item() for g in (6, 3, 2, 1)]
    assert of_mean[0] < min(of_mean[1:])
    assert of_mean[1] < of_mean[3]
    assert of_mean[3] <= 6 * math.log(2) + 1e-5


def test_the_penalty_falls_where_tokens_are_sure_and_spread():
    u = _latents(2, 64, 4)
    alike = u[:1].expand(64, -1)
    spread = entropy_terms(u, inv_temperature=10.0).penalty()
    assert spread.item() < entropy_terms(alike, inv_temperature=10.0).penalty().item()


def test_sure_bits_keep_finite_gradients():
    u = _latents(3, 8, 4).requires_grad_()
    entropy_terms(u, inv_temperature=1e4).penalty().backward()
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("group_bits", [0, 5, 13])
def test_groups_that_do_not_cut_the_token_are_refused(group_bits):
    with pytest.raises(ValueError, match="group_bits must divide 18"):
        entropy_terms(torch.zeros(2, 18), group_bits=group_bits)
