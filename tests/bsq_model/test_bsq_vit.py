"""The tokenizer against a textbook reference, in each form, and its refusals."""

import pytest
import torch

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.bottleneck.bsq import bits_of_latents
from bitmill.bsq_model.layers.patches import patches_from_pixels, pixels_from_uint8
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from tests.bsq_model.reference import reference
from tests.bsq_model.small import IMAGE, SMALL, WIDER, random_clip, random_tokenizer

CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.mark.parametrize("config", [SMALL, IMAGE, WIDER], ids=["small", "image", "wider"])
def test_latents_and_reconstruction_are_the_textbooks(config: TokenizerConfig) -> None:
    tokenizer = random_tokenizer(config)
    clip = random_clip(config.num_frames, config)
    v, decoded = reference(tokenizer, clip)
    assert v.abs().min() > 1e-5, "the case is too close to a sign change to compare reconstructions"
    torch.testing.assert_close(tokenizer.latents([clip])[0], v, **CLOSE)
    bits = tokenizer.encode([clip])
    assert torch.equal(bits[0], v > 0)
    torch.testing.assert_close(tokenizer.decode_pixels(bits)[0], decoded.clamp(-1, 1), **CLOSE)
    trained = tokenizer(pixels_from_uint8(clip[None], torch.float32))
    torch.testing.assert_close(trained.v_BThwL[0], v, **CLOSE)
    torch.testing.assert_close(trained.reconstruction_BTHWC[0], decoded, **CLOSE)


def _all_forms(tokenizer: BSQTokenizer, clip: torch.Tensor) -> dict[str, torch.Tensor]:
    patches = patches_from_pixels(pixels_from_uint8(clip, torch.float32), tokenizer.config.patch_size_px)
    stream = tokenizer.encoder.stream()
    with torch.inference_mode():
        return {
            "masked": tokenizer.encoder(patches[None])[0],
            "frame by frame": tokenizer.encoder.frame_by_frame(patches),
            "end to end": tokenizer.encoder.end_to_end([patches[:1], patches, patches[:2], patches])[1],
            "streaming": torch.stack([stream.push(frame) for frame in patches]),
        }


@pytest.mark.parametrize("config", [SMALL, IMAGE, WIDER], ids=["small", "image", "wider"])
def test_all_forms_agree_to_rounding_and_bits_differ_only_at_zero(config: TokenizerConfig) -> None:
    tokenizer = random_tokenizer(config)
    for seed in range(4):
        forms = _all_forms(tokenizer, random_clip(config.num_frames, config, seed))
        expected = forms["masked"]
        for name, v in forms.items():
            torch.testing.assert_close(v, expected, **CLOSE, msg=lambda text, n=name: f"{n}: {text}")
            differing = bits_of_latents(v) != bits_of_latents(expected)
            assert bool((v[differing].abs() < 2e-5).all())
        assert torch.equal(forms["streaming"], forms["frame by frame"])


def test_clips_laid_end_to_end_come_back_in_their_order() -> None:
    tokenizer = random_tokenizer()
    clips = [random_clip(n, seed=n) for n in (3, 1, 5, 3, 2)]
    patches = [patches_from_pixels(pixels_from_uint8(clip, torch.float32), 8) for clip in clips]
    with torch.inference_mode():
        together = tokenizer.encoder.end_to_end(patches)
        for v, single in zip(together, patches, strict=True):
            torch.testing.assert_close(v, tokenizer.encoder.frame_by_frame(single), **CLOSE)


def test_training_codes_carry_gradients_to_every_parameter() -> None:
    tokenizer = random_tokenizer()
    out = tokenizer(pixels_from_uint8(random_clip(3)[None], torch.float32))
    (out.reconstruction_BTHWC**2).mean().backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_gradients_do_not_reach_later_frames() -> None:
    tokenizer = random_tokenizer()
    pixels = pixels_from_uint8(random_clip(4)[None], torch.float32).requires_grad_()
    out = tokenizer(pixels)
    out.reconstruction_BTHWC[:, 1].sum().backward()
    assert pixels.grad is not None
    reach = pixels.grad[0].abs().amax(dim=(1, 2, 3))
    assert bool((reach[:2] > 0).all())
    assert bool((reach[2:] == 0).all())


def test_training_form_does_not_leak_the_future() -> None:
    tokenizer = random_tokenizer()
    clip = random_clip(5)
    changed = torch.cat([clip[:3], random_clip(2, seed=9)])
    with torch.no_grad():
        before, after = (tokenizer(pixels_from_uint8(c[None], torch.float32)) for c in (clip, changed))
    assert torch.equal(before.v_BThwL[:, :3], after.v_BThwL[:, :3])
    assert torch.equal(before.reconstruction_BTHWC[:, :3], after.reconstruction_BTHWC[:, :3])
    assert not torch.allclose(before.v_BThwL[:, 3:], after.v_BThwL[:, 3:])


def test_bfloat16_runs_in_every_form_with_float32_latents_close_to_float32s() -> None:
    tokenizer, clip = random_tokenizer(), random_clip(3)
    exact = tokenizer.latents([clip])[0]
    tokenizer.to(torch.bfloat16)
    v = tokenizer.latents([clip])[0]
    assert v.dtype == torch.float32
    assert not torch.equal(v, exact)
    assert (v - exact).abs().mean() < 0.05 * exact.abs().mean()
    bits = tokenizer.encode([clip])[0]
    assert (bits != (exact > 0)).float().mean() < 0.05
    decoded = tokenizer.decode([bits])[0]
    assert decoded.dtype == torch.uint8
    assert tokenizer(pixels_from_uint8(clip[None], torch.float32)).v_BThwL.dtype == torch.float32
    stream = tokenizer.stream_encoder()
    assert torch.equal(stream.push(clip), bits)


def test_autocast_leaves_the_latent_projection_in_float32() -> None:
    tokenizer = random_tokenizer()
    with torch.autocast("cpu", torch.bfloat16):
        out = tokenizer(pixels_from_uint8(random_clip(2)[None], torch.float32))
    assert out.v_BThwL.dtype == torch.float32
    rounded = out.v_BThwL.bfloat16().float()
    assert not torch.equal(out.v_BThwL, rounded)


def test_nothing_in_nothing_out() -> None:
    tokenizer = random_tokenizer()
    assert tokenizer.encode([]) == []
    assert tokenizer.decode([]) == []


@pytest.mark.parametrize("num_frames", [1, 5])
def test_shapes_and_dtypes(num_frames: int) -> None:
    tokenizer = random_tokenizer()
    bits = tokenizer.encode([random_clip(num_frames)])[0]
    assert (bits.shape, bits.dtype) == ((num_frames, 3, 3, 18), torch.bool)
    clip = tokenizer.decode([bits])[0]
    assert (clip.shape, clip.dtype) == ((num_frames, 24, 24, 3), torch.uint8)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(2, 24, 24, 3), "must be uint8 .* not torch.float32"),
        (torch.zeros(2, 24, 32, 3, dtype=torch.uint8), r"shape \[T, 24, 24, 3\], not \[2, 24, 32, 3\]"),
        (torch.zeros(2, 3, 24, 24, dtype=torch.uint8), r"shape \[T, 24, 24, 3\]"),
        (torch.zeros(24, 24, 3, dtype=torch.uint8), r"shape \[T, 24, 24, 3\], not \[24, 24, 3\]"),
        (torch.zeros(6, 24, 24, 3, dtype=torch.uint8), "1 to 5 frames, not 6"),
        (torch.zeros(0, 24, 24, 3, dtype=torch.uint8), "1 to 5 frames, not 0"),
    ],
)
def test_wrong_clips_are_refused_by_name(clip: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_tokenizer().encode([random_clip(1), clip])


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (torch.zeros(2, 3, 3, 18), "bits must be bool, not torch.float32"),
        (torch.zeros(2, 3, 3, 36, dtype=torch.bool), r"shape \[T, 3, 3, 18\], not \[2, 3, 3, 36\]"),
        (torch.zeros(6, 3, 3, 18, dtype=torch.bool), "1 to 5 frames, not 6"),
    ],
)
def test_wrong_bits_are_refused_by_name(bits: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_tokenizer().decode([bits])


def test_values_that_are_not_finite_never_become_bits_or_pixels() -> None:
    tokenizer = random_tokenizer()
    bits = tokenizer.encode([random_clip(1)])
    with torch.no_grad():
        tokenizer.encoder.spatial_positions[0, 0] = float("nan")
        tokenizer.decoder.spatial_positions[0, 0] = float("inf")
    with pytest.raises(UsageError, match="computed latents that are not finite"):
        tokenizer.encode([random_clip(1)])
    with pytest.raises(UsageError, match="computed latents that are not finite"):
        tokenizer.stream_encoder().push(random_clip(1))
    with pytest.raises(UsageError, match="computed pixels that are not finite"):
        tokenizer.decode(bits)


def test_an_image_tokenizer_has_no_temporal_positions() -> None:
    names = [name for name, _ in untrained_tokenizer(IMAGE).named_parameters()]
    assert not [name for name in names if "temporal" in name]
    assert "encoder.temporal_positions" in dict(untrained_tokenizer(SMALL).named_parameters())
