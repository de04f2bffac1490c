"""A tokenizer at another frame size: what stays, what is interpolated, what it makes of frames."""

import copy
import json
import pickle
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitmill.bsq_model import BSQTokenizer, make_preset, tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.families import read_config
from bitmill.bsq_model.numerics import set_numerics
from bitmill.bsq_model.resolution import interpolating, resize_tokenizer
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE, TokenizerConfig
from bitmill.testing import check_tokenizer
from tests.bsq_model.small import SMALL, WIDER, random_tokenizer
from tests.bsq_model.test_variants import CAUSAL, VARIANTS

SIZES = [(24, 24), (40, 16), (16, 40), (8, 64), (48, 48)]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _clip(num_frames: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, *size, 3), generator=generator, dtype=torch.uint8)


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def test_the_same_size_is_the_same_tokenizer():
    tokenizer = make_preset("tiny")
    assert resize_tokenizer(tokenizer, 128).fingerprint == tokenizer.fingerprint


def test_another_size_is_another_tokenizer_that_codes_its_frames():
    tokenizer = make_preset("tiny")
    resized = resize_tokenizer(tokenizer, 96)
    assert resized.fingerprint != tokenizer.fingerprint
    clip = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    bits = resized.encode([clip])[0]
    assert bits.shape == (2, 12, 12, 18)
    assert resized.decode([bits])[0].shape == clip.shape
    changed = {
        name
        for name, value in resized.state_dict().items()
        if value.shape != tokenizer.state_dict()[name].shape
    }
    assert changed == {"encoder.spatial_positions", "decoder.spatial_positions"}


def test_patches_must_tile_the_frame():
    with pytest.raises(UsageError, match="100 pixels are not divisible by the tokenizer's patch size 8"):
        resize_tokenizer(make_preset("tiny"), 100)


every_variant = pytest.mark.parametrize("config", [SMALL, *VARIANTS.values()], ids=["small", *VARIANTS])
every_causal_variant = pytest.mark.parametrize("config", [SMALL, *CAUSAL.values()], ids=["small", *CAUSAL])


@every_variant
def test_frames_of_the_trained_size_are_coded_as_ever(config):
    own = random_tokenizer(config)
    tokenizer = interpolating(own)
    clips = [_clip(2, (24, 24), seed) for seed in range(2)]
    bits = own.encode(clips)
    assert _equal(tokenizer.latents(clips), own.latents(clips))
    assert _equal(tokenizer.encode(clips), bits)
    assert _equal(tokenizer.decode_pixels(bits), own.decode_pixels(bits))


@every_variant
@pytest.mark.parametrize("size_px", [16, 40])
def test_squares_are_coded_as_by_the_resized_copy(config, size_px):
    own, clips = random_tokenizer(config), [_clip(2, (size_px, size_px))]
    resized, tokenizer = resize_tokenizer(own, size_px), interpolating(own)
    bits = resized.encode(clips)
    assert _equal(tokenizer.latents(clips), resized.latents(clips))
    assert _equal(tokenizer.decode_pixels(bits), resized.decode_pixels(bits))


@pytest.mark.parametrize("numerics", ["bfloat16", "int8"])
def test_positions_come_from_the_float32_weights_in_every_precision(numerics):
    own, clips = random_tokenizer(WIDER), [_clip(2, (48, 48))]
    resized, tokenizer = resize_tokenizer(own, 48), interpolating(own)
    tokenizer.encode([_clip(1, (48, 48))])  # Made before the cast, and not to be used after it.
    for made in (resized, tokenizer):
        set_numerics(made, numerics, "cpu")
    for made in (tokenizer, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        bits = made.encode(clips)
        assert _equal(made.latents(clips), resized.latents(clips))
        assert _equal(made.decode_pixels(bits), resized.decode_pixels(bits))
    assert tokenizer.fingerprint == interpolating(own).fingerprint


def test_weights_loaded_after_a_cast_bring_their_own_positions():
    tokenizer, other = (interpolating(random_tokenizer(seed=seed)).to(torch.bfloat16) for seed in (0, 1))
    clip = _clip(1, (16, 32))
    tokenizer.encode([clip])
    tokenizer.load_state_dict(other.state_dict())
    narrow = interpolating(other).to(torch.bfloat16)
    assert _equal(tokenizer.latents([clip]), narrow.latents([clip]))


@every_causal_variant
def test_on_other_grids_a_frame_is_the_same_in_every_bit_in_prefix_batch_and_stream(config):
    tokenizer = interpolating(random_tokenizer(config))
    clips = [_clip(4, size, seed) for seed, size in enumerate(SIZES)]
    latents, bits = tokenizer.latents(clips), tokenizer.encode(clips)
    pixels = tokenizer.decode(bits)
    assert [clip.shape for clip in pixels] == [clip.shape for clip in clips]
    for clip, v_ThwL, bits_ThwL, shown in zip(clips, latents, bits, pixels, strict=True):
        assert v_ThwL.shape[1:3] == (clip.shape[1] // 8, clip.shape[2] // 8)
        for k in (1, 3):
            assert torch.equal(tokenizer.latents([clip[:k]])[0], v_ThwL[:k])
        encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
        assert torch.equal(torch.cat([encoder.push(clip[:1]), encoder.push(clip[1:])]), bits_ThwL)
        assert torch.equal(torch.cat([decoder.push(bits_ThwL[:3]), decoder.push(bits_ThwL[3:])]), shown)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 5), st.tuples(st.sampled_from((8, 16, 24)), st.sampled_from((8, 24, 40)))),
        min_size=1,
        max_size=5,
    )
)
def test_clips_of_any_sizes_in_one_call_do_not_see_each_other(shapes):
    tokenizer = interpolating(random_tokenizer())
    clips = [_clip(*shape, seed=place) for place, shape in enumerate(shapes)]
    latents, bits = tokenizer.latents(clips), tokenizer.encode(clips)
    assert _equal(latents, [tokenizer.latents([clip])[0] for clip in clips])
    assert _equal(tokenizer.decode(bits), [tokenizer.decode([codes])[0] for codes in bits])


def test_the_forms_agree_on_a_grid_that_is_no_square():
    tokenizer = interpolating(random_tokenizer())
    clips = [_clip(num_frames, (16, 40), num_frames) for num_frames in (2, 4, 2)]
    frames = [tokenizer.encoder.frame_by_frame(_patches(tokenizer, clip)) for clip in clips]
    with torch.inference_mode():
        together = tokenizer.encoder.end_to_end([_patches(tokenizer, clip) for clip in clips])
        masked = tokenizer.encoder(_patches(tokenizer, clips[1])[None])[0]
    for found, expected in zip([*together, masked], [*frames, frames[1]], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def _patches(tokenizer: BSQTokenizer, clip: Tensor) -> Tensor:
    from bitmill.bsq_model.layers.patches import patches_from_pixels, pixels_from_uint8

    return patches_from_pixels(pixels_from_uint8(clip, torch.float32), tokenizer.config.patch_size_px)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, VARIANTS["cnn-vq-logit-laplace"]], ids=["small", "cnn"])
def test_it_conforms_at_several_sizes(config):
    make = lambda: interpolating(random_tokenizer(config))  # noqa: E731
    names = check_tokenizer(make, sizes=[(16, 40), (40, 16), (8, 24), (24, 24)], lengths=[1, 2, 5])
    assert {"sizes", "determinism", "batch", "causal", "prefix", "streams"} <= {*names}


def test_sizes_that_are_no_multiple_and_streams_that_change_theirs_are_refused():
    own = random_tokenizer()
    tokenizer = interpolating(own)
    with pytest.raises(ValueError, match="height and width multiples of 8, not \\[1, 24, 20, 3\\]"):
        tokenizer.encode([_clip(1, (24, 20))])
    with pytest.raises(ValueError, match=r"bits must have shape \[T, height, width, 18\]"):
        tokenizer.decode([torch.zeros(1, 0, 3, 18, dtype=torch.bool)])
    with pytest.raises(ValueError, match=r"shape \[T, 24, 24, 3\]"):
        own.encode([_clip(1, (24, 32))])
    encoder, decoder = tokenizer.stream_encoder(), tokenizer.stream_decoder()
    decoder.push(encoder.push(_clip(1, (24, 16))))
    with pytest.raises(ValueError, match=r"\[24, 16\] high and wide, not \[16, 24\]"):
        encoder.push(_clip(1, (16, 24)))
    with pytest.raises(ValueError, match=r"\[3, 2\] high and wide, not \[2, 3\]"):
        decoder.push(torch.zeros(1, 2, 3, 18, dtype=torch.bool))


def test_its_files_are_the_originals_but_for_the_config_whose_version_tells_an_older_bitmill():
    own = random_tokenizer()
    before, after = tokenizer_files(own), tokenizer_files(interpolating(own))
    assert before[WEIGHTS_FILE] == after[WEIGHTS_FILE]
    stored = json.loads(before[CONFIG_FILE])
    assert "positions" not in stored
    assert stored["format_version"] == 1
    assert json.loads(after[CONFIG_FILE]) == stored | {"format_version": 2, "positions": "interpolate"}
    loaded = tokenizer_from_files(after[CONFIG_FILE], after[WEIGHTS_FILE])
    assert loaded.fingerprint == interpolating(own).fingerprint != own.fingerprint
    assert read_config(after[CONFIG_FILE]).geometry.size_px is None
    with pytest.raises(FormatError, match="positions interpolate has another format_version than 1"):
        read_config(json.dumps(stored | {"positions": "interpolate"} | {"format_version": 1}).encode())
    with pytest.raises(FormatError, match="positions fixed has another format_version than 2"):
        read_config(json.dumps(stored | {"format_version": 2}).encode())


def test_it_shares_its_weights_and_goes_back_to_one_size():
    own = random_tokenizer()
    tokenizer = interpolating(own)
    assert tokenizer.encoder.head.weight.data_ptr() == own.encoder.head.weight.data_ptr()
    assert resize_tokenizer(tokenizer, 24).fingerprint == own.fingerprint
    assert resize_tokenizer(tokenizer, 40).fingerprint == resize_tokenizer(own, 40).fingerprint
    assert interpolating(tokenizer).fingerprint == tokenizer.fingerprint


def test_it_promises_what_the_original_does():
    for config in (SMALL, VARIANTS["full"]):
        made = TokenizerConfig.model_validate(
            config.model_dump(exclude={"format_version"}) | {"positions": "interpolate"}
        )
        assert made.geometry.promises == config.geometry.promises
        assert made.geometry.size_px is None
        assert made.geometry.multiple_px == (8, 8)
