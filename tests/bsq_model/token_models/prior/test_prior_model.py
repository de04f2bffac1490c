"""The prior's promises: a group depends on those before it alone, and both forms say the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.token_models.token_layers import bits_of_values, values_of_bits
from tests.bsq_model.token_models.small import LEVELS, OF_DIGITS, random_bits, random_digits, small_prior


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 5),
    height=st.integers(1, 3),
    width=st.integers(1, 4),
    window=st.integers(1, 3),
    clips=st.integers(1, 3),
)
def test_step_by_step_it_says_what_the_full_form_says(frames, height, width, window, clips) -> None:
    prior = small_prior(window_frames=window)
    bits = random_bits(clips, frames, height, width)
    values_BnG = values_of_bits(bits, 4).flatten(1, 3)
    stepper = prior.stepper(clips, height, width)
    told = []
    for token in range(frames * height * width):
        for group in range(3):
            told.append(stepper.next_logits())
            stepper.push(values_BnG[:, token, group])
    with torch.inference_mode():
        full = prior(bits).flatten(1, -2)
    torch.testing.assert_close(torch.stack(told, dim=1), full, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", [0, 7, 23, 24, 70, 107])
def test_a_group_depends_on_no_later_one(place: int) -> None:
    prior = small_prior(window_frames=2)
    bits = random_bits(1, 3, 3, 4)
    changed = bits.flatten(1).clone()
    # Every bit from group ``place`` on, in the order (t, h, w, group).
    changed[:, place * 4 :] ^= True
    changed = changed.view_as(bits)
    with torch.inference_mode():
        one, other = prior(bits).flatten(1, -2), prior(changed).flatten(1, -2)
    assert torch.equal(one[:, : place + 1], other[:, : place + 1])
    if place < 107:
        assert not torch.equal(one[:, place + 1], other[:, place + 1])


def test_frames_outside_the_window_are_forgotten_in_attention() -> None:
    # Five layers of windows reach back further than one; one layer sees its own window alone.
    prior = small_prior(window_frames=2, layers=1)
    bits = random_bits(1, 4, 2, 2)
    changed = bits.clone()
    changed[:, 0, 0, 0] ^= True
    with torch.inference_mode():
        one, other = prior(bits), prior(changed)
    assert torch.equal(one[:, 3], other[:, 3])
    assert not torch.equal(one[:, 1], other[:, 1])


def test_lanes_do_not_know_of_each_other() -> None:
    prior = small_prior()
    bits = random_bits(3, 2, 2, 2)
    with torch.inference_mode():
        together = prior(bits)
        for k in range(3):
            torch.testing.assert_close(prior(bits[k : k + 1])[0], together[k], rtol=1e-5, atol=1e-5)


def test_what_clips_cost_is_the_cross_entropy_of_their_groups() -> None:
    prior = small_prior()
    bits = random_bits(2, 2, 2, 3)
    with torch.inference_mode():
        log2 = prior(bits).double().log_softmax(-1) / math.log(2)
        told = prior.held_out_bits(bits, None, torch.Generator())
    by_hand = torch.zeros(2, dtype=torch.float64)
    values = values_of_bits(bits, 4)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in values.shape)).tolist():
        by_hand[index[0]] -= log2[(*index, values[tuple(index)])]
    torch.testing.assert_close(told.double(), by_hand / 12, rtol=1e-5, atol=1e-5)


def test_groups_spell_the_papers_index() -> None:
    bits = torch.tensor([[True, False, False, True, True, True, False, False, False, False, False, True]])
    assert values_of_bits(bits, 4).tolist() == [[9, 12, 1]]
    assert torch.equal(bits_of_values(values_of_bits(bits, 4), 4), bits)


def test_it_learns_what_repeats() -> None:
    prior = small_prior().train()
    bits = random_bits(4, 2, 2, 2)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=1e-2)
    before = prior.training_loss(bits, None, torch.Generator()).item()
    for _ in range(60):
        optimizer.zero_grad()
        prior.training_loss(bits, None, torch.Generator()).backward()
        optimizer.step()
    assert prior.training_loss(bits, None, torch.Generator()).item() < before / 4


def test_digits_are_groups_of_their_own_sizes() -> None:
    prior, digits = small_prior(**OF_DIGITS), random_digits(2, 2, 2, 3)
    with torch.inference_mode():
        full = prior(digits)
        log2 = full.double().log_softmax(-1) / math.log(2)
        told = prior.held_out_bits(digits, None, torch.Generator())
    stepper = prior.stepper(2, 2, 3)
    for place, values_B in enumerate(digits.flatten(1).unbind(1)):
        levels = LEVELS[place % 3]
        logits_BK = stepper.next_logits()
        assert logits_BK.shape == (2, levels)
        torch.testing.assert_close(logits_BK, full.flatten(1, -2)[:, place, :levels], rtol=1e-4, atol=1e-4)
        stepper.push(values_B)
    for group, levels in enumerate(LEVELS):
        assert bool((log2[..., group, levels:] < -1000).all())
    by_hand = -log2.gather(-1, digits[..., None])[..., 0].sum(-1).mean((1, 2, 3))
    torch.testing.assert_close(told.double(), by_hand, rtol=1e-5, atol=1e-5)
