"""The real prior behind the coder: exact round trips, its own cross-entropy, clear refusals."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.coding.clip_codec import decode_clips, encode_clips
from bitmill.bsq_model.coding.prior_numerics import one_thread
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_model_files import make_token_model, token_model_files
from bitmill.pipeline.compressing.clip_streams import check_prior
from bitmill.pipeline.compressing.coding_prior import coding_prior, prior_from_files
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.models.token_model_config import MaskedLMConfig
from tests.bsq_model.token_models.small import LEVELS, OF_DIGITS, random_digits, small_prior

TOKENIZER = "ab" * 16
BITS_18 = Code.of_bits(18)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the commands run a prior: two threads share out the lanes, and their kernels may differ."""
    with one_thread():
        yield


def _prior(bits_per_token: int = 18, group_bits: int = 9) -> Prior:
    return small_prior(
        tokenizer_fingerprint=TOKENIZER,
        bits_per_token=bits_per_token,
        group_bits=group_bits,
        window_frames=2,
    ).requires_grad_(False)


def _clips(num_bits: int, lengths, seed: int = 0, height: int = 3, width: int = 2):
    rng = np.random.default_rng(seed)
    return [rng.random((length, height, width, num_bits)) < 0.5 for length in lengths]


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.sampled_from([(18, 9), (10, 5), (36, 6), (1, 1)]),
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_clips_of_any_length_and_size_come_back(width, lengths, lanes, height_tokens, width_tokens):
    num_bits, group_bits = width
    model = coding_prior(_prior(num_bits, group_bits)).model
    clips = _clips(num_bits, lengths, height=height_tokens, width=width_tokens)
    code = Code.of_bits(num_bits)
    coded = encode_clips(model, clips, code, lanes)
    for found, clip in zip(decode_clips(model, coded, code, lanes), clips, strict=True):
        assert np.array_equal(found.codes_thwD, clip)


def test_a_clips_bytes_do_not_depend_on_what_is_beside_it():
    model = coding_prior(_prior()).model
    clips = _clips(18, (3, 1, 2, 3, 3, 1, 2, 3))
    together = [clip.data for clip in encode_clips(model, clips, BITS_18, 8)]
    assert together == [encode_clips(model, [clip], BITS_18, 8)[0].data for clip in clips]


def test_lost_neighbours_do_no_harm():
    model = coding_prior(_prior()).model
    clips = _clips(18, (3, 3, 2))
    coded = encode_clips(model, clips, BITS_18, 3)
    coded[0] = replace(coded[0], data=None)
    coded[2] = replace(coded[2], data=b"\x12\x34")
    found = list(decode_clips(model, coded, BITS_18, 3))
    assert np.array_equal(found[1].codes_thwD, clips[1])


def test_the_size_is_within_a_percent_of_the_cross_entropy_in_full_form():
    prior = _prior()
    clips = _clips(18, (2, 2), height=8, width=8)
    coded = encode_clips(coding_prior(prior).model, clips, BITS_18, 2)
    bits = torch.from_numpy(np.stack(clips))
    entropy_bits = float(prior.bits_per_group(bits).sum())
    size_bits = sum(len(clip.data or b"") * 8 for clip in coded)
    assert entropy_bits * 0.99 < size_bits < entropy_bits * 1.01


def test_a_saved_prior_codes_as_before_and_another_model_is_refused():
    prior = _prior()
    files = token_model_files(prior)
    loaded = prior_from_files(files["config.json"], files["model.safetensors"], origin="x")
    assert loaded.mark.fingerprint == coding_prior(prior).mark.fingerprint
    clips = _clips(18, (2,))
    (one,), (other,) = (
        encode_clips(model, clips, BITS_18, 1) for model in (loaded.model, coding_prior(prior).model)
    )
    assert one.data == other.data
    config = MaskedLMConfig(
        kind="masked-lm", tokenizer_fingerprint=TOKENIZER, bits_per_token=18, width=32, layers=1
    )
    files = token_model_files(make_token_model(config, seed=0))
    with pytest.raises(UsageError, match="contains a masked-lm model; pass a prior"):
        prior_from_files(files["config.json"], files["model.safetensors"], origin="x")


def test_digits_come_back_and_cost_their_cross_entropy():
    prior = small_prior(tokenizer_fingerprint=TOKENIZER, **OF_DIGITS).requires_grad_(False)
    loaded, code = coding_prior(prior), Code.of_digits(LEVELS)
    digits = random_digits(2, 3, 8, 8)
    coded = encode_clips(loaded.model, [clip.numpy() for clip in digits], code, 2)
    for found, clip in zip(decode_clips(loaded.model, coded, code, 2), digits, strict=True):
        assert np.array_equal(found.codes_thwD, clip.numpy())
    entropy_bits = float(prior.bits_per_group(digits).sum())
    assert sum(len(clip.data or b"") * 8 for clip in coded) == pytest.approx(entropy_bits, rel=0.01)
    check_prior(loaded, TOKENIZER, Geometry(patch_px=(8, 8), code=code))
    other = Geometry(patch_px=(8, 8), code=Code.of_digits((8, 5, 4)))
    with pytest.raises(UsageError, match="The prior predicts digits of 8×5×3 values, and these tokens are"):
        check_prior(loaded, TOKENIZER, other)
