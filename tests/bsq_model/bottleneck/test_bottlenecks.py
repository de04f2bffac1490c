"""Bits, codes and losses of each kind of bottleneck, against sums over all codes."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.bottleneck.bottlenecks import (
    Bottleneck,
    CodebookBottleneck,
    SignBottleneck,
    SphericalBottleneck,
)
from bitmill.bsq_model.bottleneck.entropy import entropy_terms, entropy_terms_of_logits


def _codebook(num_bits: int, seed: int = 0) -> CodebookBottleneck:
    bottleneck = CodebookBottleneck(num_bits)
    with torch.no_grad():
        bottleneck.codebook.copy_(_latents(2**num_bits, num_bits, seed + 100))
    return bottleneck


def _latents(count: int, num_bits: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, num_bits, generator=torch.Generator().manual_seed(seed))


def _all_bits(num_bits: int) -> torch.Tensor:
    """Row i spells i, the first bit being the most significant."""
    return torch.tensor(list(itertools.product([False, True], repeat=num_bits)))


MAKERS = [SphericalBottleneck, SignBottleneck, _codebook]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("num_bits", [1, 5, 9])
def test_every_code_has_its_bits(make, num_bits):
    bottleneck: Bottleneck = make(num_bits)
    bits = _all_bits(num_bits)
    codes = bottleneck.codes_of_bits(bits, torch.float32)
    assert torch.equal(bottleneck.bits_of_latents(codes), bits)
    assert bottleneck.codes_of_bits(bits, torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("num_bits", [1, 6])
def test_training_codes_are_those_of_the_bits_in_every_bit(make, num_bits):
    bottleneck: Bottleneck = make(num_bits)
    v = _latents(50, num_bits).view(5, 10, num_bits).requires_grad_(True)
    bits, codes, commitment = bottleneck(v)
    assert torch.equal(bits, bottleneck.bits_of_latents(v))
    assert torch.equal(codes, bottleneck.codes_of_bits(bits, torch.float32))
    assert commitment.shape == (5, 10)


@given(num_bits=st.integers(1, 8), seed=st.integers(0, 2**20))
def test_vq_takes_the_nearest_row(num_bits, seed):
    bottleneck = _codebook(num_bits, seed)
    v = _latents(20, num_bits, seed)
    index = (v[:, None] - bottleneck.codebook.detach()).double().square().sum(-1).argmin(-1)
    assert torch.equal(bottleneck.bits_of_latents(v), _all_bits(num_bits)[index])


def test_of_equal_rows_the_lowest_index_is_taken():
    bottleneck = _codebook(10)
    with torch.no_grad():
        bottleneck.codebook[:] = bottleneck.codebook[:32].repeat(32, 1)
    # All repeat the first 32 rows, so that the five leading bits of any index are zero.
    assert not bottleneck.bits_of_latents(_latents(500, 10))[:, :5].any()
    with torch.no_grad():
        bottleneck.codebook.zero_()
    assert not bottleneck.bits_of_latents(_latents(3, 10)).any()


def test_a_vq_token_does_not_depend_on_its_batch():
    bottleneck = _codebook(7)
    v = _latents(2500, 7)
    together = bottleneck.bits_of_latents(v)
    assert torch.equal(together[2047:2050], bottleneck.bits_of_latents(v[2047:2050]))
    assert bottleneck.bits_of_latents(v[:0]).shape == (0, 7)


def test_lfq_codes_are_signs_and_zero_is_minus_one():
    v = torch.tensor([0.0, -0.0, 3.0, -0.1])
    assert SignBottleneck(4)(v).codes_xL.tolist() == [-1, -1, 1, -1]


def test_gradients_pass_straight_through():
    weights = _latents(8, 6, 1)
    for bottleneck in (SignBottleneck(6), _codebook(6)):
        v = _latents(8, 6).requires_grad_(True)
        (bottleneck(v).codes_xL * weights).sum().backward()
        assert torch.equal(v.grad, weights)


def test_commitments_are_those_of_the_formulas():
    v = _latents(12, 4)
    bits, codes, commitment = SphericalBottleneck(4)(v)
    u = v / v.norm(dim=-1, keepdim=True)
    assert torch.allclose(commitment, (u - codes).square().sum(-1))
    assert torch.allclose(SignBottleneck(4)(v).commitment_x, (v - (bits * 2.0 - 1)).square().sum(-1))


def test_the_vq_loss_moves_rows_to_latents_and_latents_a_quarter_as_much_to_rows():
    bottleneck, v = _codebook(3), _latents(1, 3).requires_grad_(True)
    bits, codes, commitment = bottleneck(v)
    commitment.sum().backward()
    distance = (v - codes).detach()
    assert commitment.item() == pytest.approx(1.25 * distance.square().sum().item(), rel=1e-5)
    assert torch.allclose(v.grad, 0.25 * 2 * distance)
    index = int("".join("01"[bit] for bit in bits[0].tolist()), 2)
    expected = torch.zeros(8, 3)
    expected[index] = -2 * distance[0]
    assert torch.allclose(bottleneck.codebook.grad, expected)


@pytest.mark.parametrize("inv_temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("make", [SphericalBottleneck, SignBottleneck])
def test_entropies_are_those_of_the_sum_over_all_codes(make, inv_temperature):
    num_bits = 5
    bottleneck: Bottleneck = make(num_bits)
    v = _latents(30, num_bits).double()
    codes = bottleneck.codes_of_bits(_all_bits(num_bits), torch.float64)
    points = v / v.norm(dim=-1, keepdim=True) if make is SphericalBottleneck else v
    # Both assignments are exp(−τ‖point − c‖²): on the sphere that is exp(2τ·cᵀu) up to a constant.
    distances = (points[:, None] - codes).square().sum(-1)
    q = torch.softmax(-inv_temperature * distances, dim=-1)
    logits = bottleneck.logits_of_bits(v.float(), inv_temperature)
    terms = entropy_terms_of_logits(logits, group_bits=num_bits)
    assert terms.per_token.item() == pytest.approx(torch.special.entr(q).sum(-1).mean().item(), rel=1e-4)
    assert terms.of_mean.item() == pytest.approx(torch.special.entr(q.mean(0)).sum().item(), rel=1e-4)
    single = torch.stack([q.mean(0)[_all_bits(num_bits)[:, bit]].sum() for bit in range(num_bits)])
    by_bit = torch.special.entr(single) + torch.special.entr(1 - single)
    terms = entropy_terms_of_logits(logits, group_bits=1)
    assert terms.of_mean.item() == pytest.approx(by_bit.sum().item(), rel=1e-4)


def test_bsq_logits_are_those_of_the_entropy_function():
    v = _latents(40, 9)
    direct = entropy_terms(v / v.norm(dim=-1, keepdim=True), inv_temperature=1.5, group_bits=3)
    logits = SphericalBottleneck(9).logits_of_bits(v, 1.5)
    found = entropy_terms_of_logits(logits, group_bits=3)
    assert torch.allclose(torch.stack(found), torch.stack(direct))


def test_vq_has_no_entropy_penalty():
    assert _codebook(3).logits_of_bits(_latents(2, 3), 1.0) is None


@pytest.mark.parametrize("make", MAKERS)
def test_latents_that_are_not_numbers_show_in_training(make):
    v = torch.full((2, 4), float("nan"))
    assert make(4)(v).codes_xL.isnan().all()
