"""Drawing: shown tokens stay, clips go on from what was given, baselines are what they say."""

import numpy as np
import pytest
import torch
from PIL import Image

from bitmill.bsq_model.token_models.masked_lm import SamplingSpec
from bitmill.pipeline.synthesis.draw_samples import draw_pictures, fill_in, go_on
from bitmill.pipeline.synthesis.load_frames import hidden_tokens
from bitmill.pipeline.synthesis.quality import independent_dimensions, order0_tokens
from bitmill.pipeline.synthesis.sample_sheet import write_sheet
from tests.bsq_model.token_models.small import random_bits, small_masked_lm, small_prior


def test_pictures_of_a_seed_are_the_same_and_of_another_are_not() -> None:
    model, spec = small_masked_lm(), SamplingSpec(steps=3)
    drawn = [torch.stack(list(draw_pictures(model, 3, (2, 3), spec, label=1, seed=s))) for s in (0, 0, 1)]
    assert drawn[0].shape == (3, 1, 2, 3, 12)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_only_hidden_tokens_are_filled_in() -> None:
    model, bits = small_masked_lm(), random_bits(1, 3, 3)
    hidden = torch.zeros(1, 3, 3, dtype=torch.bool)
    hidden[0, 1:] = True
    drawn = fill_in(model, bits, hidden, 4, SamplingSpec(steps=2), label=None, seed=0)
    assert len(drawn) == 4
    for filled in drawn:
        assert torch.equal(filled[~hidden], bits[~hidden])
    assert any(not torch.equal(filled, bits) for filled in drawn)


def test_a_continuation_depends_on_what_was_given_and_on_the_seed() -> None:
    prior, given = small_prior(), random_bits(2, 2, 3)
    drawn = go_on(prior, given, 2, 3, temperature=1.0, seed=0)
    assert drawn.shape == (3, 2, 2, 3, 12)
    assert torch.equal(drawn, go_on(prior, given, 2, 3, temperature=1.0, seed=0))
    assert not torch.equal(drawn, go_on(prior, given, 2, 3, temperature=1.0, seed=1))
    assert not torch.equal(drawn, go_on(prior, ~given, 2, 3, temperature=1.0, seed=0))


def test_a_cold_continuation_is_the_likeliest_group_after_group() -> None:
    prior, given = small_prior(), random_bits(1, 2, 2)
    cold = go_on(prior, given, 1, 2, temperature=1e-4, seed=0)
    assert torch.equal(cold[0], cold[1])
    with torch.inference_mode():
        logits = prior(torch.cat([given, cold[0]])[None])[0, 1]
    likeliest = logits.argmax(-1)
    powers = 2 ** torch.arange(3, -1, -1)
    assert torch.equal((cold[0, 0].unflatten(-1, (3, 4)) * powers).sum(-1), likeliest)


def test_a_mask_hides_each_token_that_it_touches() -> None:
    mask = torch.zeros(1, 128, 128, 3, dtype=torch.uint8)
    mask[0, 8:17, 127] = 255
    hidden = hidden_tokens(mask, (8, 8))
    assert hidden.shape == (1, 16, 16)
    assert hidden.nonzero().tolist() == [[0, 1, 15], [0, 2, 15]]
    assert hidden_tokens(mask, (4, 16)).nonzero().tolist() == [[0, 2, 7], [0, 3, 7], [0, 4, 7]]


def test_baselines_keep_the_frequencies_and_nothing_else() -> None:
    of = torch.rand(64, 4, 4, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    of[..., 0] = True
    of[..., 1] = of[..., 2]
    generator = torch.Generator().manual_seed(1)
    alone = independent_dimensions(of, 200, generator)
    assert bool(alone[..., 0].all())
    assert (alone[..., 1] == alone[..., 2]).float().mean().item() == pytest.approx(0.5, abs=0.03)
    tokens = order0_tokens(of, 200, generator)
    assert torch.equal(tokens[..., 1], tokens[..., 2])
    known = {bytes(token) for token in of.flatten(0, 2).numpy()}
    assert {bytes(token) for token in tokens.flatten(0, 2).numpy()} <= known
    digits = torch.randint(5, (64, 4, 4, 2), generator=generator)
    digits[..., 0] = digits[..., 1]
    alone = independent_dimensions(digits, 200, generator)
    assert alone.shape == (200, 4, 4, 2)
    assert (alone[..., 0] == alone[..., 1]).float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_a_sheet_has_a_row_for_a_clip_and_a_square_of_pictures(tmp_path) -> None:
    frames = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    write_sheet([frames, frames], tmp_path / "clips.png")
    assert Image.open(tmp_path / "clips.png").size == (3 * 6 - 2, 2 * 6 - 2)
    write_sheet([frames[:1]] * 5, tmp_path / "pictures.png")
    sheet = np.asarray(Image.open(tmp_path / "pictures.png"))
    assert sheet.shape == (2 * 6 - 2, 3 * 6 - 2, 3)
    assert np.array_equal(sheet[6:10, 6:10], frames[0])
