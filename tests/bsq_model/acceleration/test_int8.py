"""The encoder in integers: near the float32 one, the same whatever stands beside it, never saved."""

import copy

import pytest
import torch
from torch import nn

from bitmill.bsq_model import make_preset, tokenizer_files
from bitmill.bsq_model.acceleration.int8 import Int8Linear
from bitmill.bsq_model.numerics import set_numerics
from bitmill.schemas.errors import UsageError
from tests.bsq_model.small import random_clip, random_tokenizer
from tests.bsq_model.test_variants import VARIANTS


def test_a_layer_is_within_the_rounding_of_its_operands() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 32), torch.randn(20, 64)
    with torch.inference_mode():
        found, expected = Int8Linear(layer)(x), layer(x)
        # Each of the 64 products is off by at most half a step of either operand.
        steps = x.abs().amax(-1, keepdim=True) / 127 * layer.weight.abs().sum(-1) / 2
        steps = steps + layer.weight.abs().amax(-1) / 127 * x.abs().sum(-1, keepdim=True) / 2
    assert bool(((found - expected).abs() <= steps * 1.02).all())
    assert not torch.equal(found, expected)


def test_rows_of_zeros_and_one_large_value_give_what_they_should() -> None:
    layer = nn.Linear(8, 8)
    with torch.inference_mode():
        layer.weight.copy_(torch.eye(8))
        layer.bias.zero_()
        layer.weight[3].zero_()
        x = torch.zeros(2, 8)
        x[1, 5] = 1e6
        found = Int8Linear(layer)(x)
    assert torch.equal(found[0], torch.zeros(8))
    assert found[1, 5] == pytest.approx(1e6, rel=1e-6)
    assert found[1].count_nonzero() == 1


def test_most_bits_are_those_of_float32_and_the_fingerprint_is_its_own() -> None:
    tokenizer = make_preset("tiny")
    clip = random_clip(4, tokenizer.config)
    before, name = tokenizer.encode([clip])[0], tokenizer.fingerprint
    set_numerics(tokenizer, "int8", "cpu")
    flipped = (tokenizer.encode([clip])[0] != before).float().mean()
    assert 0 < flipped < 0.02
    assert tokenizer.fingerprint == name


def test_a_frame_depends_on_no_later_one_and_no_other_clip() -> None:
    tokenizer = make_preset("tiny")
    set_numerics(tokenizer, "int8", "cpu")
    clips = [random_clip(frames, tokenizer.config, seed=frames) for frames in (3, 1, 2)]
    together = tokenizer.latents(clips)
    for clip, v_ThwL in zip(clips, together, strict=True):
        assert torch.equal(tokenizer.latents([clip])[0], v_ThwL)
        assert torch.equal(tokenizer.latents([clip[:1]])[0], v_ThwL[:1])


def test_integers_cannot_be_saved_as_if_they_were_the_weights() -> None:
    tokenizer = make_preset("tiny")
    set_numerics(tokenizer, "int8", "cpu")
    with pytest.raises(ValueError, match="a tokenizer in int8 cannot be saved"):
        tokenizer_files(tokenizer)


def test_an_encoder_without_such_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="dtype int8 needs a ViT encoder"):
        set_numerics(random_tokenizer(VARIANTS["cnn"]), "int8", "cpu")


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_float_numerics_are_the_plain_cast(name: str) -> None:
    one, other = make_preset("tiny"), make_preset("tiny")
    set_numerics(one, name, "cpu")  # type: ignore[arg-type]
    other = copy.deepcopy(other).to(getattr(torch, name))
    clip = random_clip(2, one.config)
    assert torch.equal(one.latents([clip])[0], other.latents([clip])[0])
