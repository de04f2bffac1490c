"""On a GPU: the same tokens as on CPU but for values at the rounding's edge. Needs a device, or skips."""

import copy
import os

import numpy as np
import pytest
import torch

from bitmill.bsq_model import make_preset
from bitmill.bsq_model.numerics import set_numerics
from bitmill.bsq_model.resolution import interpolating
from bitmill.bsq_model.training.optimizer import (
    load_optimizer_tensors,
    make_optimizers,
    optimizer_tensors,
    step_all,
)
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.schemas.requests.training import OptimizerSpec
from tests.bsq_model.published.golden import CONFIGS, golden
from tests.bsq_model.small import SMALL, random_clip, random_tokenizer
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


def test_a_recorded_pass_gives_the_bits_of_the_first_and_follows_its_weights():
    tokenizer = make_preset("tiny").to("cuda")
    clips = [torch.from_numpy(clip).cuda() for clip in _clips()[:1]]
    first, *later = [tokenizer.latents(clips)[0] for _ in range(4)]
    for v_ThwL in later:
        torch.testing.assert_close(v_ThwL, first, rtol=0, atol=1e-5)
    with torch.no_grad():
        tokenizer.encoder.head.bias += 1
    torch.testing.assert_close(tokenizer.latents(clips)[0], first + 1, rtol=0, atol=1e-4)
    moved = tokenizer.to(torch.bfloat16).latents(clips)[0]
    torch.testing.assert_close(moved, first + 1, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", [None, "cnn", "full"])
def test_sizes_mixed_in_a_call_give_the_cpus_latents_and_pixels_to_rounding(name):
    tokenizer = interpolating(random_tokenizer(SMALL if name is None else VARIANTS[name]))
    random = np.random.default_rng(0)
    sizes = [(16, 40), (40, 16), (24, 24), (16, 40)]
    clips = [torch.from_numpy(random.integers(0, 256, (3, *size, 3), dtype=np.uint8)) for size in sizes]
    latents, bits = tokenizer.latents(clips), tokenizer.encode(clips)
    pixels = tokenizer.decode_pixels(bits)
    tokenizer.to("cuda")
    for _ in range(3):  # As computed, then recorded, then replayed.
        for found, expected in zip(tokenizer.latents(clips), latents, strict=True):
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
        for found, expected in zip(tokenizer.decode_pixels(bits), pixels, strict=True):
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
    assert [codes.shape for codes in tokenizer.encode(clips)] == [codes.shape for codes in bits]


def test_a_recorded_pass_over_another_grid_follows_its_positions():
    tokenizer = interpolating(make_preset("tiny")).to("cuda")
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)).cuda()
    before = [tokenizer.latents([clip])[0] for _ in range(3)][-1]
    with torch.no_grad():
        tokenizer.encoder.spatial_positions.mul_(-3)
    after = [tokenizer.latents([clip])[0] for _ in range(3)]
    expected = tokenizer.cpu().latents([clip.cpu()])[0]
    assert (before.cpu() - expected).abs().max() > 1e-2
    for v_ThwL in after:
        torch.testing.assert_close(v_ThwL.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_published_networks_give_the_cpus_latents_and_pixels_to_rounding(name):
    tokenizer, plain = copy.deepcopy(golden(name)), golden(name)
    tokenizer.to(device="cuda", dtype=torch.float32)
    random, num_frames = np.random.default_rng(0), plain.geometry.most_frames or 17
    shape = min(num_frames, 17), 32, 48, 3
    clips = [torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8)) for _ in range(2)]
    latents, codes = plain.latents(clips), plain.encode(clips)
    pixels = plain.decode_pixels(codes)
    for _ in range(3):  # As computed, then recorded, then replayed.
        for found, expected in zip(tokenizer.latents(clips), latents, strict=True):
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
        for found, expected in zip(tokenizer.decode_pixels(codes), pixels, strict=True):
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
    tokenizer.to(device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        for found, expected in zip(tokenizer.encode(clips), codes, strict=True):
            assert (found.cpu() != expected).any(-1).float().mean() < 0.4


def test_batches_that_follow_each_other_unwaited_keep_their_bits():
    encoder, clips = ModelEncoder(make_preset("tiny").to("cuda")), _clips()
    expected = [encoder.encode([clip])[0] for clip in clips]
    under_way = [encoder.begin([clip]) for clip in clips]
    for pending, bits_THWL in zip(under_way, expected, strict=True):
        assert np.array_equal(pending.wait()[0], bits_THWL)
        assert pending.ready()
        assert 0 < pending.gpu_s < 60


def test_int8_on_a_gpu_changes_few_bits():
    clips = [torch.from_numpy(clip) for clip in _clips()]
    tokenizer = make_preset("tiny")
    expected = tokenizer.encode(clips)
    set_numerics(tokenizer, "int8", "cuda")
    for found, bits_ThwL in zip(tokenizer.encode(clips), expected, strict=True):
        assert (found.cpu() != bits_ThwL).float().mean() < 0.02


def test_an_optimizer_goes_on_from_what_was_saved():
    torch.manual_seed(0)
    x = torch.randn(16, 8, device="cuda")
    layers = [torch.nn.Linear(8, 8).cuda() for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    optimizers = [make_optimizers(layer, OptimizerSpec()) for layer in layers]

    def step(k: int) -> None:
        layers[k](x).square().mean().backward()
        step_all(optimizers[k], 1e-2)

    for _ in range(4):
        step(0)
    for _ in range(2):
        step(1)
    saved = {name: tensor.cpu() for name, tensor in optimizer_tensors(optimizers[1], layers[1]).items()}
    optimizers[1] = make_optimizers(layers[1], OptimizerSpec())
    load_optimizer_tensors(optimizers[1], layers[1], saved)
    for _ in range(2):
        step(1)
    assert torch.equal(layers[0].weight, layers[1].weight)
