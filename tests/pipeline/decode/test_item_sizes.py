"""An item's frames have one size, chosen by the first of them as it is shown, whatever decodes it."""

import numpy as np
import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, NativeSizes
from bitmill.pipeline.decode.video import decord_reader
from tests.pipeline.decode.conftest import decode

BUCKETS = Buckets(((48, 64), (64, 48), (56, 56), (32, 80)))
NATIVE = NativeSizes(multiple_px=(8, 8), short_side_px=60)


@pytest.mark.parametrize("pixel_rule", [1, 2])
@pytest.mark.parametrize(
    ("name", "bucket", "native"),
    [
        ("plain.mp4", (48, 64), (56, 80)),
        ("rotated.mp4", (64, 48), (80, 56)),
        # Stored as 120×160, shown as 120×320.
        ("anamorphic.mp4", (32, 80), (56, 160)),
        ("photo.jpg", (48, 64), (56, 80)),
        ("exif.jpg", (64, 48), (80, 56)),
        ("animated.gif", (48, 64), (56, 80)),
    ],
)
def test_the_size_follows_from_the_frame_as_it_is_shown(odd, name, bucket, native, pixel_rule):
    for sizes, expected in ((BUCKETS, bucket), (NATIVE, native)):
        clips = decode(odd(name), sizes=sizes, fps=5.0, clip_frames=3, pixel_rule=pixel_rule).clips
        assert {clip.frames_THWC.shape[1:3] for clip in clips} == {expected}
        assert all(clip.frames_THWC.flags.c_contiguous for clip in clips)


@pytest.mark.parametrize("sizes", [BUCKETS, NATIVE])
@pytest.mark.parametrize("pixel_rule", [1, 2])
def test_later_frames_of_another_resolution_get_the_items_size(odd, sizes, pixel_rule):
    clips = decode(odd("resized.ts"), sizes=sizes, clip_frames=5, pixel_rule=pixel_rule).clips
    sources = {(clip.source_height, clip.source_width) for clip in clips}
    assert sources == {(120, 160), (160, 120)}
    assert len({clip.frames_THWC.shape[1:3] for clip in clips}) == 1
    height, width = clips[0].frames_THWC.shape[1:3]
    for clip in clips:
        assert clip.crop.scaled_height >= height
        assert clip.crop.scaled_width >= width
    # A span that begins later is an item of its own, with a first frame of its own.
    (*_, late) = decode(odd("resized.ts"), sizes=sizes, span_ns=(10**9, None), pixel_rule=pixel_rule).clips
    assert late.frames_THWC.shape[1:3] == (width, height)


@pytest.mark.skipif(not decord_reader.is_installed(), reason="decord has no wheel here")
@pytest.mark.parametrize("sizes", [BUCKETS, NATIVE, Buckets(((16, 96),))])
def test_decord_gives_the_frames_of_pyav(odd, sizes):
    by_decord = decode(odd("plain.mp4"), sizes=sizes, prefer="decord", pixel_rule=1)
    by_pyav = decode(odd("plain.mp4"), sizes=sizes, prefer="pyav", pixel_rule=1)
    assert (by_decord.end.facts.decoder, by_pyav.end.facts.decoder) == ("decord", "pyav")
    assert np.array_equal(by_decord.frames_THWC, by_pyav.frames_THWC)
    assert [clip.crop for clip in by_decord.clips] == [clip.crop for clip in by_pyav.clips]


@pytest.mark.parametrize("name", ["plain.mp4", "rotated.mp4", "anamorphic.mp4", "photo.jpg"])
def test_a_square_bucket_is_that_square(odd, name):
    square = decode(odd(name), size_px=56, fps=5.0)
    bucket = decode(odd(name), sizes=Buckets(((56, 56),)), fps=5.0)
    assert np.array_equal(square.frames_THWC, bucket.frames_THWC)
