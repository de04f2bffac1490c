"""On a GPU: the same tokens as on CPU but for values at the rounding's edge. Needs a device, or skips."""

import os

import numpy as np
import pytest
import torch

from bsq_model import make_preset
from pipeline.encoding import ModelEncoder
from tests.bsq_model.small import random_clip, random_tokenizer
from tests.bsq_model.test_variants import VARIANTS

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _device() -> None:
    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_CUDA") == "1":
        pytest.fail("REQUIRE_CUDA=1, but torch sees no CUDA device")
    pytest.skip("no CUDA device")


def _clips() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (frames, 128, 128, 3), dtype=np.uint8) for frames in (1, 16, 4, 16)]


def test_bits_differ_from_the_cpus_only_where_values_are_at_the_edge():
    clips = _clips()
    tokenizer = make_preset("tiny")
    latents = tokenizer.latents([torch.from_numpy(clip) for clip in clips])
    for bits_THWL, v_THWL in zip(ModelEncoder(tokenizer.to("cuda")).encode(clips), latents, strict=True):
        differing = torch.from_numpy(bits_THWL) != (v_THWL > 0)
        assert bool((v_THWL[differing].abs() < 1e-4).all())


def test_the_same_batch_gives_the_same_bits():
    encoder = ModelEncoder(make_preset("tiny").to("cuda"))
    for one, other in zip(encoder.encode(_clips()), encoder.encode(_clips()), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_give_the_cpus_latents_and_pixels_to_rounding(name):
    tokenizer = random_tokenizer(VARIANTS[name])
    clips = [random_clip(frames, seed=frames) for frames in (3, 1, 3)]
    latents, bits = tokenizer.latents(clips), tokenizer.encode(clips)
    pixels = tokenizer.decode_pixels(bits)
    tokenizer.to("cuda")
    for found, expected in zip(tokenizer.latents(clips), latents, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
    for found, expected in zip(tokenizer.decode_pixels(bits), pixels, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
