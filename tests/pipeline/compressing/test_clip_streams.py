from dataclasses import replace

import numpy as np
import pytest

from bitmill.pipeline.compressing.clip_streams import StreamClip, compress_clips, restore_clips
from bitmill.schemas.errors import BitmillError, FormatError, NumericsMismatchError, UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.stream.compressed import CompressedStream
from bitmill.schemas.stream.stream_header import PriorMark, StreamHeader, StreamKind
from tests.support.priors import random_prior

TOKENIZER = "ab" * 16
HEADER = StreamHeader(
    kind=StreamKind.PICTURES,
    tokenizer_fingerprint=TOKENIZER,
    geometry=Geometry(patch_px=(8, 8), code=Code.of_bits(6)),
    group_bits=1,
    lanes=2,
    prior=None,
)
BITS = [np.random.default_rng(seed).random((2, 2, 2, 6)) < 0.5 for seed in range(3)]
CLIPS = [StreamClip(codes=bits, shape_thw=(2, 2, 2), num_frames=2) for bits in BITS]


def _stream(prior):
    return compress_clips(HEADER, CLIPS, prior)


def _restored(data, prior, *, salvage=False):
    stream = CompressedStream(data, origin="x.bmz", salvage=salvage)
    return list(restore_clips(stream, prior, origin="x.bmz", salvage=salvage))


@pytest.mark.parametrize("prior", [None, random_prior(TOKENIZER)], ids=["counts", "prior"])
def test_a_stream_cut_or_flipped_at_any_byte_is_a_clear_error(prior):
    whole = _stream(prior)
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            with pytest.raises(FormatError, match=r"x\.bmz .*(damaged|truncated|not a stream)"):
                _restored(damaged, prior)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, random_prior(TOKENIZER)], ids=["counts", "prior"])
def test_a_salvage_gives_right_frames_only_and_loses_one_clip_at_most(prior):
    whole = _stream(prior)
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :]
        found = _restored(damaged, prior, salvage=True)
        for clip in found:
            assert np.array_equal(clip.codes, BITS[clip.index][: len(clip.codes)])
        assert sum(not clip.complete for clip in found) <= 1


@pytest.mark.slow
def test_a_salvage_of_a_cut_stream_gives_right_frames_only():
    prior = random_prior(TOKENIZER)
    whole = _stream(prior)
    kept = []
    for at in range(len(whole)):
        try:
            found = _restored(whole[:at], prior, salvage=True)
        except FormatError:
            continue
        for clip in found:
            assert np.array_equal(clip.codes, BITS[clip.index][: len(clip.codes)])
        kept.append(sum(len(clip.codes) for clip in found))
    assert kept == sorted(kept)
    assert kept[-1] == 6


def test_other_numerics_are_told_and_never_give_wrong_bits():
    prior = random_prior(TOKENIZER)
    data = _stream(prior)
    # Another network behind the same name is what another machine's rounding comes to.
    here = replace(
        random_prior(TOKENIZER, seed=9),
        mark=PriorMark(fingerprint=prior.mark.fingerprint, numerics="another machine"),
    )
    with pytest.raises(NumericsMismatchError, match=r"frame 1 of clip 1.*made with torch .*another machine"):
        _restored(data, here)
    with pytest.raises(NumericsMismatchError, match="round differently"):
        _restored(data, here, salvage=True)


def test_another_prior_is_refused_before_decoding():
    data = _stream(random_prior(TOKENIZER))
    with pytest.raises(UsageError, match=r"was coded with the prior 0{32}; pass it"):
        _restored(data, None)
    with pytest.raises(UsageError, match=r"with the prior 0{32}, not with 0{31}1"):
        _restored(data, random_prior(TOKENIZER, seed=1))


def test_a_prior_of_another_tokenizer_is_refused():
    with pytest.raises(UsageError, match="trained on tokens of tokenizer cd"):
        _stream(random_prior("cd" * 16))


def test_without_a_prior_a_stream_needs_none_and_a_given_one_does_no_harm():
    data = _stream(None)
    assert len(_restored(data, random_prior(TOKENIZER))) == 3


def test_no_error_is_a_stack_trace():
    whole = _stream(None)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 5):
            damaged[at] = rng.integers(0, 256)
        try:
            _restored(bytes(damaged), None, salvage=True)
        except BitmillError:
            continue


OTHERS = [
    Geometry(patch_px=(8, 16), frames_per_token=2, code=Code.of_digits((8, 5, 3))),
    Geometry(patch_px=(8, 8), code=Code.of_index(5000)),
    Geometry(patch_px=(8, 8), code=Code.of_bits(72, "least")),
    Geometry(
        layout="pyramid", patch_px=(8, 8), code=Code.of_index(64), schedules={"2x3": ((1, 1, 2), (1, 2, 3))}
    ),
]


def _codes(geometry, shape_thw, seed):
    rng = np.random.default_rng(seed)
    tokens = shape_thw if geometry.layout == "grid" else (geometry.num_tokens(shape_thw),)
    codes = rng.integers(0, geometry.code.bases, (*tokens, geometry.code.dimensions))
    return codes.astype(np.bool_) if geometry.code.kind == "bits" else codes


def _other(geometry):
    header = replace(HEADER, geometry=geometry)
    rows = (3, 2, 1) if geometry.layout == "grid" else (1, 1)
    clips = [
        StreamClip(codes=_codes(geometry, (t, 2, 3), t), shape_thw=(t, 2, 3), num_frames=2 * t - 1)
        for t in rows
    ]
    return clips, compress_clips(header, clips, None)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", OTHERS, ids=lambda geometry: geometry.code.kind)
def test_tokens_of_any_kind_come_back_and_damage_is_an_error_or_costs_one_clip(geometry):
    clips, whole = _other(geometry)
    assert whole[3] == 3
    for found, clip in zip(_restored(whole, None), clips, strict=True):
        assert found.complete
        assert found.codes.dtype == clip.codes.dtype
        assert np.array_equal(found.codes, clip.codes)
        assert (found.place.shape, found.place.num_frames) == (clip.shape_thw, clip.num_frames)
    for at in range(0, len(whole), max(3, len(whole) // 100)):
        damaged = whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]
        with pytest.raises(FormatError, match=r"x\.bmz .*(damaged|truncated|not a stream)"):
            _restored(damaged, None)
        left = _restored(damaged, None, salvage=True)
        assert sum(not clip.complete for clip in left) <= 1
        for clip in left:
            assert np.array_equal(clip.codes, clips[clip.index].codes[: len(clip.codes)])


@pytest.mark.slow
@pytest.mark.parametrize("geometry", OTHERS, ids=lambda geometry: geometry.code.kind)
def test_random_bytes_in_a_stream_of_any_geometry_are_no_stack_trace(geometry):
    _, whole = _other(geometry)
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 5):
            damaged[at] = rng.integers(0, 256)
        try:
            _restored(bytes(damaged), None, salvage=True)
        except BitmillError:
            continue


def test_a_prior_is_for_bits():
    geometry = OTHERS[0]
    clip = StreamClip(codes=_codes(geometry, (1, 2, 3), 0), shape_thw=(1, 2, 3), num_frames=2)
    with pytest.raises(UsageError, match=r"predicts bits, and these tokens are of kind digits.*--prior none"):
        compress_clips(replace(HEADER, geometry=geometry), [clip], random_prior(TOKENIZER))


def test_wide_bits_take_a_prior_too():
    geometry = Geometry(patch_px=(8, 8), code=Code.of_bits(72))
    clip = StreamClip(codes=_codes(geometry, (2, 2, 3), 0), shape_thw=(2, 2, 3), num_frames=2)
    prior = random_prior(TOKENIZER)
    data = compress_clips(replace(HEADER, geometry=geometry), [clip], prior)
    (found,) = _restored(data, prior)
    assert np.array_equal(found.codes, clip.codes)
