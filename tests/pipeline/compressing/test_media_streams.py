"""Pictures and videos through a stream, with tokenizers of any geometry."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bitmill.bsq_model.contract import decode_clips
from bitmill.pipeline.compressing.media_streams import (
    compress_pictures,
    frames_of_tiles,
    restore_pictures,
    tiles_of,
)
from bitmill.pipeline.items import Crop, DecodedClip
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from bitmill.schemas.stream.compressed import CompressedStream
from tests.bsq_model.small import random_tokenizer
from tests.support.counting_tokenizers import OBLONG, PYRAMID, VIDEO, CountingTokenizer
from tests.support.priors import random_prior
from tests.support.pyramid_tokenizers import ColourPyramid


def _clip(num_frames: int, size_px: int, seed: int = 0) -> DecodedClip:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, size_px, size_px, 3), np.uint8)
    return DecodedClip(
        frames_THWC=frames,
        frame_pts_ns=np.arange(num_frames) * 10**8,
        start_ns=0,
        end_ns=num_frames * 10**8,
        fps=10.0,
        source_height=64,
        source_width=80,
        crop=Crop(scaled_height=size_px, scaled_width=size_px, top=0, left=0),
    )


def _shown(tokenizer, frames_THWC):
    """What the tokenizer alone makes of a clip, without the padding."""
    codes = tokenizer.encode([torch.from_numpy(padded(frames_THWC, tokenizer.geometry))])
    return tokenizer.decode(codes)[0].numpy()[: len(frames_THWC)]


def _restored(data, tokenizer, *, salvage=False):
    stream = CompressedStream(data, origin="x.bmz", salvage=salvage)
    return restore_pictures(stream, tokenizer, None, origin="x.bmz", salvage=salvage)


@pytest.mark.parametrize(
    ("geometry", "lengths", "size_px"),
    [
        (VIDEO, (9, 9, 3), 32),
        (VIDEO, (2,), 64),
        (OBLONG, (4, 1), 48),
        (PYRAMID, (1,), 64),
        (PYRAMID, (1, 1), 32),
    ],
)
def test_real_frames_come_back_as_the_tokenizer_shows_them(geometry, lengths, size_px):
    tokenizer = CountingTokenizer(geometry)
    clips = [_clip(length, size_px, seed) for seed, length in enumerate(lengths)]
    found = _restored(compress_pictures(clips, tokenizer, None, 4), tokenizer)
    assert [one.num_frames for one in found] == list(lengths)
    tiles = size_px // geometry.size_px[0] if geometry.size_px else 1
    for one, clip in zip(found, clips, strict=True):
        parts = [_shown(tokenizer, part) for part in tiles_of(clip.frames_THWC, tiles)]
        assert np.array_equal(one.frames_THWC, frames_of_tiles(parts, tiles))
        assert set(one.tile_frames) == {len(clip.frames_THWC)}


@pytest.mark.parametrize("size_px", [(16, 32), (32, 16), (32, 32)])
def test_pyramids_come_back_in_their_own_shape(size_px):
    tokenizer = ColourPyramid()
    height, width = size_px
    clips = [
        replace(_clip(1, 32, seed), frames_THWC=_clip(1, 32, seed).frames_THWC[:, :height, :width])
        for seed in range(2)
    ]
    found = _restored(compress_pictures(clips, tokenizer, None, 2), tokenizer)
    for one, clip in zip(found, clips, strict=True):
        codes = tokenizer.encode([torch.from_numpy(clip.frames_THWC)])
        (expected,) = decode_clips(tokenizer, codes, [(1, height // 8, width // 8)])
        assert np.array_equal(one.frames_THWC, expected.numpy())


def test_bsq_vit_writes_version_1():
    tokenizer = random_tokenizer()
    assert compress_pictures([_clip(3, 24)], tokenizer, None, 1)[3] == 1
    assert compress_pictures([_clip(3, 32)], CountingTokenizer(), None, 1)[3] == 3


def test_a_damaged_clip_shows_the_frames_of_its_first_rows_if_these_are_a_clip():
    tokenizer = CountingTokenizer()
    clips = [_clip(9, 32, seed) for seed in range(3)]
    data = compress_pictures(clips, tokenizer, None, 1)
    first = CompressedStream(data, origin="x")
    # The last byte of the second clip's payload: at least its first row is before it.
    ends = np.cumsum([place.chunk_bytes for place in first.header.clips])
    at = data.index(first.chunk(1).payload) + len(first.chunk(1).payload) - 1
    assert at < len(data) - int(ends[-1] - ends[1])
    damaged = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
    with pytest.raises(FormatError, match="is damaged: clip 2 of 3"):
        _restored(damaged, tokenizer)
    found = _restored(damaged, tokenizer, salvage=True)
    kept = [len(one.frames_THWC) for one in found]
    assert kept in ([9, 1, 9], [9, 5, 9])
    for one, clip in zip(found, clips, strict=True):
        shown = _shown(tokenizer, clip.frames_THWC)
        assert np.array_equal(one.frames_THWC, shown[: len(one.frames_THWC)])
    # Rows mean nothing without the later ones where the tokenizer does not promise it.
    other = CountingTokenizer(VIDEO.model_copy(update={"promises": ()}))
    data = compress_pictures(clips, other, None, 1)
    at = data.index(CompressedStream(data, origin="x").chunk(1).payload) + 20
    damaged = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
    assert [len(one.frames_THWC) for one in _restored(damaged, other, salvage=True)] == [9, 0, 9]


def test_another_tokenizer_and_shapes_that_it_cannot_produce_are_refused():
    tokenizer = CountingTokenizer()
    data = compress_pictures([_clip(9, 32)], tokenizer, None, 1)
    with pytest.raises(TokenizerMismatchError, match=r"was made with tokenizer abab.*, this one is cdcd"):
        _restored(data, CountingTokenizer(fingerprint="cd" * 16))
    stream = CompressedStream(data, origin="x")
    (place,) = stream.header.clips
    for wrong in (
        {"num_rows": 4},
        {"height": 3},
        {"num_frames": 10},
    ):
        stream.header = replace(stream.header, clips=(replace(place, **wrong),))
        with pytest.raises(FormatError, match="which its tokenizer cannot produce"):
            restore_pictures(stream, tokenizer, None, origin="x")
    other = CountingTokenizer(VIDEO.model_copy(update={"frames_per_token": 2}))
    with pytest.raises(FormatError, match="declares other tokens than its tokenizer's"):
        _restored(data, other)


def test_a_prior_is_refused_for_tokens_that_are_no_bits():
    with pytest.raises(UsageError, match="these tokens are of kind digits"):
        compress_pictures([_clip(1, 32)], CountingTokenizer(), random_prior("ab" * 16), 1)
