"""The masked model sees nothing of what is hidden, and its sampler fills in just that."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.token_models.masked_lm import SamplingSpec, fill
from bitmill.bsq_model.token_models.masked_lm.schedule import hidden_after, hide, shares
from bitmill.bsq_model.token_models.token_layers import values_of_bits
from tests.bsq_model.token_models.small import LEVELS, OF_DIGITS, random_bits, random_digits, small_masked_lm


def _hidden(bits: torch.Tensor, share: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    hidden = hide((1, *bits.shape[1:4]), torch.tensor([share]), 3, generator)
    return hidden.expand(len(bits), -1, -1, -1, -1)


def test_what_hidden_groups_hold_has_no_effect_and_what_shown_ones_hold_has() -> None:
    model, bits = small_masked_lm(), random_bits(2, 1, 3, 4)
    hidden = _hidden(bits, 0.5)
    with torch.inference_mode():
        told = model(bits, hidden)
        other_hidden = bits ^ hidden.repeat_interleave(4, dim=-1)
        assert torch.equal(model(other_hidden, hidden), told)
        assert not torch.equal(model(~other_hidden, hidden), told)


def test_every_position_sees_every_other() -> None:
    model, bits = small_masked_lm(), random_bits(1, 2, 2, 2)
    hidden = torch.zeros(1, 2, 2, 2, 3, dtype=torch.bool)
    changed = bits.clone()
    changed[0, 1, 1, 1, 0] ^= True
    with torch.inference_mode():
        differing = (model(bits, hidden) != model(changed, hidden)).flatten(-2).any(-1)
    assert bool(differing.all())


@settings(max_examples=60, deadline=None)
@given(num_hidden=st.integers(1, 2000), steps=st.integers(1, 40))
def test_each_step_shows_some_and_the_last_shows_all(num_hidden: int, steps: int) -> None:
    left = [num_hidden, *(hidden_after(step, steps, num_hidden) for step in range(1, steps + 1))]
    assert left[-1] == 0
    for before, after in pairwise(left):
        assert after < before or before == 0


def test_training_hides_more_often_much_than_little() -> None:
    share_B = shares(20_000, torch.Generator().manual_seed(0))
    # The mean of cos(πu/2) over an even u is 2/π.
    assert share_B.mean().item() == pytest.approx(0.6366, abs=0.01)
    assert share_B.min() >= 0
    assert share_B.max() <= 1


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.05, 1.0), steps=st.integers(1, 6), seed=st.integers(0, 99), guided=st.booleans())
def test_shown_groups_stay_and_equal_seeds_draw_alike(share, steps, seed, guided) -> None:
    model, bits = small_masked_lm(), random_bits(2, 1, 3, 3, seed=seed)
    hidden = _hidden(bits, share, seed)
    labels = torch.tensor([1, 2]) if guided else None
    spec = SamplingSpec(steps=steps, guidance=2.0)
    drawn = [
        fill(model, b, hidden, spec, generator=torch.Generator().manual_seed(seed), labels_B=labels)
        for b in (bits, bits ^ hidden.repeat_interleave(4, dim=-1))
    ]
    shown = ~hidden.repeat_interleave(4, dim=-1)
    assert torch.equal(drawn[0][shown], bits[shown])
    assert torch.equal(drawn[0], drawn[1])


def test_at_temperature_0_in_one_step_it_takes_the_likeliest() -> None:
    model, bits = small_masked_lm(), random_bits(1, 1, 3, 3)
    hidden = torch.ones(1, 1, 3, 3, 3, dtype=torch.bool)
    spec = SamplingSpec(steps=1, temperature=0)
    drawn = fill(model, bits, hidden, spec, generator=torch.Generator())
    with torch.inference_mode():
        assert torch.equal(values_of_bits(drawn, 4), model(bits, hidden).argmax(-1))


def test_guidance_of_1_is_the_label_alone_and_0_is_none() -> None:
    model, bits = small_masked_lm(), random_bits(1, 1, 3, 3)
    hidden = torch.ones(1, 1, 3, 3, 3, dtype=torch.bool)

    def drawn(guidance: float, label: int | None) -> torch.Tensor:
        labels = None if label is None else torch.tensor([label])
        spec = SamplingSpec(steps=1, temperature=0, guidance=guidance)
        return fill(model, bits, hidden, spec, generator=torch.Generator(), labels_B=labels)

    assert torch.equal(drawn(0.0, 2), drawn(1.0, None))
    assert not torch.equal(drawn(1.0, 2), drawn(1.0, 1))
    with torch.inference_mode():
        assert torch.equal(
            values_of_bits(drawn(1.0, 2), 4), model(bits, hidden, torch.tensor([2])).argmax(-1)
        )


def test_clips_that_hide_differently_much_are_refused() -> None:
    model, bits = small_masked_lm(), random_bits(2, 1, 2, 2)
    hidden = torch.ones(2, 1, 2, 2, 3, dtype=torch.bool)
    hidden[1, 0, 0, 0, 0] = False
    with pytest.raises(ValueError, match="the same number of hidden groups"):
        fill(model, bits, hidden, SamplingSpec(), generator=torch.Generator())


def test_it_learns_what_repeats() -> None:
    model, bits = small_masked_lm().train(), random_bits(8, 1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = model.training_loss(bits, torch.tensor([1, 2] * 4), generator).item()
    for _ in range(80):
        optimizer.zero_grad()
        model.training_loss(bits, torch.tensor([1, 2] * 4), generator).backward()
        optimizer.step()
    assert model.training_loss(bits, torch.tensor([1, 2] * 4), generator).item() < before / 1.5


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_digits_are_drawn_below_their_levels_and_shown_ones_stay(guidance) -> None:
    model, digits = small_masked_lm(**OF_DIGITS), random_digits(2, 1, 3, 3)
    hidden = _hidden(digits, 0.7)
    generator, labels = torch.Generator().manual_seed(0), torch.tensor([1, 2])
    spec = SamplingSpec(steps=3, temperature=5.0, guidance=guidance)
    drawn = fill(model, digits, hidden, spec, generator=generator, labels_B=labels)
    assert torch.equal(drawn[~hidden], digits[~hidden])
    assert not torch.equal(drawn, digits)
    assert bool((drawn < torch.tensor(LEVELS)).all())
    assert bool((drawn >= 0).all())
    assert model.training_loss(digits, labels, generator).isfinite()
