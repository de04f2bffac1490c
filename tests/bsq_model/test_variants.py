"""What the default tokenizer promises holds for every variant that its config can select."""

from collections.abc import Iterator

import pytest
import torch

from bitmill.bsq_model import (
    BSQTokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_files,
    tokenizer_from_files,
)
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.bsq_model.resolution import resize_tokenizer
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from tests.bsq_model.small import SMALL, random_clip, random_tokenizer

_ONE_HEAD = {"width": 16, "layers": 1, "heads": 1}
_CNN = {"backbone": "cnn", "encoder": _ONE_HEAD, "decoder": _ONE_HEAD | {"layers": 2}}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _config(**changes) -> TokenizerConfig:
    return TokenizerConfig.model_validate(SMALL.model_dump() | {"bits_per_token": 10} | changes)


VARIANTS = {
    "lfq": _config(quantizer="lfq"),
    "vq": _config(quantizer="vq"),
    "cnn": _config(**_CNN),
    "full": _config(attention="full"),
    "logit-laplace": _config(output="logit-laplace"),
    "cnn-vq-logit-laplace": _config(**_CNN, quantizer="vq", output="logit-laplace"),
    "full-lfq": _config(attention="full", quantizer="lfq"),
}
CAUSAL = {name: config for name, config in VARIANTS.items() if config.attention == "block-causal"}

every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
every_causal_variant = pytest.mark.parametrize("config", CAUSAL.values(), ids=CAUSAL.keys())


def _trained_form(tokenizer: BSQTokenizer, clip: torch.Tensor):
    with torch.no_grad():
        return tokenizer(pixels_from_uint8(clip[None], torch.float32))


@every_variant
def test_training_and_inference_agree(config):
    tokenizer, clip = random_tokenizer(config), random_clip(4)
    output = _trained_form(tokenizer, clip)
    torch.testing.assert_close(tokenizer.latents([clip])[0], output.v_BThwL[0], rtol=1e-4, atol=1e-4)
    bits = tokenizer.encode([clip])[0]
    assert (bits != output.bits_BThwL[0]).float().mean() < 0.01
    # Decoded from the very bits of the training form, which rounding may have moved.
    decoded = tokenizer.decode_pixels([output.bits_BThwL[0]])[0]
    expected = output.reconstruction_BTHWC[0].clamp(-1, 1)
    torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-4)
    assert decoded.std() > 0.05


@every_variant
def test_losses_reach_every_weight(config):
    tokenizer = random_tokenizer(config)
    output = tokenizer(pixels_from_uint8(random_clip(3)[None], torch.float32))
    losses = tokenizer.bottleneck_losses(output, inv_temperature=1.0, group_bits=2)
    assert all(loss.dtype == torch.float32 and loss.shape == () for loss in losses)
    total = output.reconstruction_BTHWC.square().mean() + torch.stack(losses).sum()
    if output.logit_laplace_BTHWC is not None:
        total = total + output.logit_laplace_BTHWC.log_scale.square().mean()
    total.backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@every_variant
def test_a_saved_variant_comes_back(config, tmp_path):
    saved, clip = random_tokenizer(config), random_clip(2)
    save_tokenizer(saved, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.config == config
    assert loaded.fingerprint == saved.fingerprint
    bits = loaded.encode([clip])
    assert torch.equal(bits[0], saved.encode([clip])[0])
    assert torch.equal(loaded.decode(bits)[0], saved.decode(bits)[0])


@every_causal_variant
def test_a_frame_is_the_same_in_every_bit_in_prefix_batch_and_stream(config):
    tokenizer = random_tokenizer(config)
    clip, other = random_clip(4), random_clip(2, seed=5)
    bits, _ = tokenizer.encode([clip, other])
    pixels = tokenizer.decode([bits])[0]
    for k in (1, 3):
        assert torch.equal(tokenizer.latents([clip[:k]])[0], tokenizer.latents([other, clip])[1][:k])
    encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
    streamed = [encoder.push(frame[None]) for frame in clip]
    assert torch.equal(torch.cat(streamed), bits)
    assert torch.equal(torch.cat([decoder.push(codes) for codes in streamed]), pixels)


@every_causal_variant
def test_training_does_not_leak_the_future(config):
    tokenizer, clip = random_tokenizer(config), random_clip(5)
    changed = torch.cat([clip[:3], random_clip(2, seed=9)])
    before, after = _trained_form(tokenizer, clip), _trained_form(tokenizer, changed)
    assert torch.equal(before.v_BThwL[:, :3], after.v_BThwL[:, :3])
    assert torch.equal(before.reconstruction_BTHWC[:, :3], after.reconstruction_BTHWC[:, :3])


def test_a_stream_of_a_cnn_ends_where_a_clip_does():
    stream = random_tokenizer(_config(**_CNN)).stream_encoder()
    for frame in random_clip(5):
        stream.push(frame[None])
    with pytest.raises(ValueError, match="already had 5 frames"):
        stream.push(random_clip(1))


def test_a_cnn_sees_each_frame_alone():
    tokenizer, clip = random_tokenizer(_config(**_CNN)), random_clip(3)
    together = tokenizer.latents([clip])[0]
    assert torch.equal(together[2:], tokenizer.latents([clip[2:]])[0])


def test_full_attention_sees_later_frames_and_refuses_to_stream():
    tokenizer, clip = random_tokenizer(_config(attention="full")), random_clip(3)
    changed = clip.clone()
    changed[2] = 255 - changed[2]
    before, after = (tokenizer.latents([c])[0] for c in (clip, changed))
    assert not torch.allclose(before[0], after[0])
    # Other clips of the call still do not count.
    assert torch.equal(before, tokenizer.latents([random_clip(2, seed=3), clip])[1])
    for stream in (tokenizer.stream_encoder, tokenizer.stream_decoder):
        with pytest.raises(UsageError, match="attention 'full' cannot stream"):
            stream()


def test_full_attention_over_one_frame_is_the_block_causal_one():
    causal = random_tokenizer(_config())
    full = untrained_tokenizer(_config(attention="full"))
    full.load_state_dict(causal.state_dict())
    image = random_clip(1)
    expected = causal.latents([image])[0]
    torch.testing.assert_close(full.latents([image])[0], expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["vq", "cnn", "cnn-vq-logit-laplace"])
def test_bfloat16_weights_run(name):
    tokenizer = random_tokenizer(VARIANTS[name])
    before = tokenizer.fingerprint
    exact = tokenizer.latents([random_clip(2)])[0]
    tokenizer.to(torch.bfloat16)
    v = tokenizer.latents([random_clip(2)])[0]
    assert v.dtype == torch.float32
    assert (v - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert tokenizer.decode(tokenizer.encode([random_clip(2)]))[0].dtype == torch.uint8
    assert tokenizer.fingerprint == before


def test_a_cnn_takes_another_size():
    tokenizer = resize_tokenizer(random_tokenizer(_config(**_CNN)), 40)
    bits = tokenizer.encode([random_clip(1, tokenizer.config)])[0]
    assert bits.shape == (1, 5, 5, 10)


def test_an_untrained_cnns_bits_follow_the_picture():
    tokenizer = untrained_tokenizer(_config(**_CNN))
    bits = tokenizer.encode([random_clip(5)])[0].flatten(0, 2).float().mean(0)
    assert bool(((bits > 0.02) & (bits < 0.98)).all())


def test_defaults_are_left_out_so_that_old_fingerprints_hold():
    explicit = _config(quantizer="bsq", backbone="vit", attention="block-causal", output="pixels")
    assert "quantizer" not in explicit.model_dump()
    assert tokenizer_files(untrained_tokenizer(explicit)) == tokenizer_files(untrained_tokenizer(_config()))
    assert VARIANTS["vq"].model_dump(mode="json")["quantizer"] == "vq"
    names = {untrained_tokenizer(config).fingerprint for config in VARIANTS.values()}
    assert len(names) == len(VARIANTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": "vq", "bits_per_token": 17}, "at most 16 bits_per_token, not 17"),
        ({**_CNN, "patch_size_px": 6}, "power of two as patch_size_px, not 6"),
        ({**_CNN, "attention": "full"}, "has no attention"),
        ({"backbone": "cnn"}, "set heads to 1"),
        ({"quantizer": "fsq"}, "Input should be 'bsq', 'lfq' or 'vq'"),
    ],
)
def test_variants_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _config(**changes)


def test_weights_of_another_variant_do_not_fit():
    files = {name: tokenizer_files(random_tokenizer(config)) for name, config in VARIANTS.items()}
    with pytest.raises(FormatError, match=r"bottleneck\.codebook is missing"):
        tokenizer_from_files(files["vq"]["config.json"], files["lfq"]["model.safetensors"])
