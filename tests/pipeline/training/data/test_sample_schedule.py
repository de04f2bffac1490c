"""What is drawn for a sample: laws of pure functions, and values that must stay what they are."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.decode.pixels.orientation import UPRIGHT
from bitmill.pipeline.decode.video.probe import VideoFacts
from bitmill.pipeline.training.data.crop import crop, drawn_box
from bitmill.pipeline.training.data.downscale import downscaled_size, short_side
from bitmill.pipeline.training.data.frame_cache import FrameCache
from bitmill.pipeline.training.data.sample_schedule import Draw, draw, permuted, place_of_batch
from bitmill.pipeline.training.data.segments import segment_at, segment_frames

SECOND = 1_000_000_000
FRACTIONS = st.floats(0, 1, exclude_max=True)
GOLDEN = (
    Draw(814, 0.6062570989767383, 0.7644324271991354, 0.7193927217542325, 0.3495150378207029, flip=False),
    Draw(171, 0.9225872649170654, 0.7611665943809165, 0.32729849976807823, 0.3772376966486076, flip=False),
)
GOLDEN_ORDER = [8, 0, 9, 1, 4, 3, 6, 7, 2, 5]
DRAWS = st.builds(
    Draw,
    source_index=st.just(0),
    time=FRACTIONS,
    top=FRACTIONS,
    left=FRACTIONS,
    scale=FRACTIONS,
    flip=st.booleans(),
)


@given(seed=st.integers(0, 2**70), epoch=st.integers(0, 10**9), length=st.integers(1, 200))
def test_an_epochs_order_is_a_permutation(seed, epoch, length):
    assert sorted(permuted(seed, epoch, place, length) for place in range(length)) == list(range(length))


def test_orders_differ_by_epoch_and_by_seed():
    orders = {tuple(permuted(seed, epoch, k, 50) for k in range(50)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


def test_every_place_is_equally_likely_for_every_source():
    places = Counter(permuted(seed, 0, 0, 5) for seed in range(5000))
    assert all(abs(count - 1000) < 150 for count in places.values())


@given(seed=st.integers(0, 99), epoch=st.integers(0, 10**6), num_sources=st.integers(1, 60))
def test_each_source_is_drawn_once_an_epoch(seed, epoch, num_sources):
    epoch_samples = range(epoch * num_sources, (epoch + 1) * num_sources)
    drawn = [draw(seed, index, 0, num_sources) for index in epoch_samples]
    assert sorted(one.source_index for one in drawn) == list(range(num_sources))


@given(
    seed=st.integers(0, 2**70),
    index=st.integers(0, 2**70),
    attempt=st.integers(0, 40),
    num_sources=st.integers(1, 10**9),
)
def test_draws_lie_in_range(seed, index, attempt, num_sources):
    drawn = draw(seed, index, attempt, num_sources)
    assert 0 <= drawn.source_index < num_sources
    assert all(0 <= chance < 1 for chance in (drawn.time, drawn.top, drawn.left, drawn.scale))


def test_chances_are_even_and_independent():
    drawn = [draw(3, index, 0, 10) for index in range(4000)]
    chances = np.array([(d.time, d.top, d.left, d.scale, d.flip) for d in drawn])
    assert np.abs(chances.mean(0) - 0.5).max() < 0.03
    assert np.abs(np.corrcoef(chances.T) - np.eye(5)).max() < 0.07


def test_another_attempt_draws_anew():
    drawn = [draw(0, 5, attempt, 1000) for attempt in range(20)]
    assert len({one.source_index for one in drawn}) > 15
    assert len({one.time for one in drawn}) == 20


def test_draws_never_change():
    """A run that is taken up by a later release must see the same samples."""
    assert draw(1, 2, 0, 1000) == GOLDEN[0]
    assert draw(1, 2, 1, 1000) == GOLDEN[1]
    assert [permuted(7, 3, place, 10) for place in range(10)] == GOLDEN_ORDER


@given(seed=st.integers(0, 2**64), share=st.floats(0, 1), first=st.integers(0, 10**7))
def test_kinds_of_batches_keep_to_their_share(seed, share, first):
    places = [place_of_batch(seed, step, share) for step in range(first, first + 40)]
    for kind in (True, False):
        positions = [place.position for place in places if place.is_image is kind]
        assert positions == list(range(positions[0], positions[0] + len(positions))) if positions else True
    images = sum(place.is_image for place in places)
    assert abs(images - 40 * share) <= 1.001


def test_the_first_batches_of_each_kind_are_their_firsts():
    places = [place_of_batch(11, step, 0.3) for step in range(20)]
    assert min(place.position for place in places if place.is_image) == 0
    assert min(place.position for place in places if not place.is_image) == 0


def facts(**changes) -> VideoFacts:
    known = VideoFacts(
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        pix_fmt="yuv420p",
        width=64,
        height=48,
        aspect=Fraction(1),
        orientation=UPRIGHT,
        interlaced=False,
        colorspace=5,
        color_range=1,
        average_fps=25.0,
        declared_frames=0,
        num_packets=1000,
        num_discard=0,
        num_keyframes=4,
        num_missing_pts=0,
        start_ns=0,
        end_ns=40 * SECOND,
        origin_ns=0,
        truncated=False,
    )
    return replace(known, **changes)


@given(
    duration_ms=st.integers(1, 10**7),
    start_ms=st.one_of(st.none(), st.integers(0, 10**5)),
    length_ms=st.one_of(st.none(), st.integers(1, 10**6)),
    fps=st.one_of(st.none(), st.floats(0.5, 60)),
    num_frames=st.integers(1, 64),
)
def test_stretches_tile_what_is_wanted(duration_ms, start_ms, length_ms, fps, num_frames):
    known = facts(start_ns=0, end_ns=duration_ms * 1_000_000)
    start_ns = None if start_ms is None else start_ms * 1_000_000
    end_ns = None if length_ms is None else ((start_ms or 0) + length_ms) * 1_000_000
    wanted = (start_ns, end_ns)
    count = segment_at(0.0, known, wanted, fps=fps, num_frames=num_frames)[0].count
    times = [(place + 0.5) / count for place in range(min(count, 50))]
    found = [segment_at(time, known, wanted, fps=fps, num_frames=num_frames) for time in times]
    spans = [segment.span_ns for segment, _ in found]
    assert [segment.index for segment, _ in found] == list(range(len(found)))
    assert all(abs(within - 0.5) < 1e-6 for _, within in found)
    assert spans[0][0] == start_ns
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    least_ns = segment_frames(num_frames) * SECOND / (fps or 25.0)
    assert all(b - a >= least_ns - 1 for a, b in spans[1:-1])
    last = segment_at(1 - 1e-12, known, wanted, fps=fps, num_frames=num_frames)[0]
    assert last.index == count - 1
    assert last.span_ns[1] == end_ns


def test_a_video_of_unknown_length_is_measured_by_its_packets():
    segment, _ = segment_at(
        0.99, facts(start_ns=None, end_ns=None, num_missing_pts=1000), (None, None), fps=None, num_frames=10
    )
    assert segment.count == 50


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    drawn=DRAWS,
    scales=st.tuples(st.floats(1, 4), st.floats(1, 4)).map(lambda pair: tuple(sorted(pair))),
)
def test_the_crop_lies_inside_the_picture_and_is_square(width, height, drawn, scales):
    left, top, right, bottom = drawn_box(width, height, drawn, scales)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    side = min(width, height)
    assert right - left == pytest.approx(bottom - top)
    assert side / scales[1] * 0.999 <= right - left <= side / scales[0] * 1.001


@given(
    width=st.integers(8, 4000),
    height=st.integers(8, 4000),
    drawn=DRAWS,
    size=st.tuples(st.integers(8, 512), st.integers(8, 512)),
)
def test_a_crop_has_its_sizes_shape_and_is_not_enlarged(width, height, drawn, size):
    sizes, scales = (size, (64, 64)), (1.0, 1.6)
    short = short_side(width, height, sizes, scales[1])
    scaled = short / min(width, height)
    left, top, right, bottom = drawn_box(width, height, drawn, scales, size)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left) / (bottom - top) == pytest.approx(size[1] / size[0])
    # But for the rounding of the short side.
    slack = 1 + 0.5 / short
    assert (bottom - top) * scaled * slack >= size[0] * 0.999
    assert (right - left) * scaled * slack >= size[1] * 0.999


@given(width=st.integers(1, 4000), height=st.integers(1, 4000), side=st.integers(1, 999))
def test_of_squares_the_short_side_is_the_largest_crops(width, height, side):
    assert short_side(width, height, ((side, side),), 1.7) == round(side * 1.7)


@pytest.mark.parametrize(
    ("width", "height", "aspect", "expected"),
    [
        (640, 480, Fraction(1), (341, 256)),
        (480, 640, Fraction(1), (256, 341)),
        (640, 480, Fraction(1, 2), (256, 384)),
        (200, 100, Fraction(1), (200, 100)),
        (200, 100, Fraction(2), (400, 100)),
        (200, 100, Fraction(1, 200), (200, 100)),
        (1, 5000, Fraction(1), (1, 5000)),
    ],
)
def test_shrinking_makes_pixels_square_and_enlarges_no_side(width, height, aspect, expected):
    assert downscaled_size(width, height, aspect, lambda *_: 256) == expected


def test_a_flipped_sample_is_its_mirror_image():
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    drawn = Draw(0, 0.0, 0.3, 0.6, 0.5, flip=False)
    plain = crop(frames, drawn, size_px=(16, 16), crop_scale=(1.0, 2.0), flip=True)
    mirrored = crop(frames, replace(drawn, flip=True), size_px=(16, 16), crop_scale=(1.0, 2.0), flip=True)
    assert (mirrored == plain[:, :, ::-1]).all()
    assert (mirrored != plain).any()
    never = crop(frames, replace(drawn, flip=True), size_px=(16, 16), crop_scale=(1.0, 2.0), flip=False)
    assert (never == plain).all()


def test_frames_of_a_clip_share_one_crop():
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    clip = crop(np.stack([frame] * 3), draw(0, 0, 0, 1), size_px=(16, 16), crop_scale=(1.0, 2.0), flip=True)
    assert (clip == clip[0]).all()


@given(sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=30))
def test_the_cache_keeps_to_its_bound_and_forgets_the_eldest(sizes):
    cache = FrameCache(100 * 3)
    for key, pixels in sizes:
        cache.put(key, np.full((1, 1, pixels, 3), pixels, np.uint8))
        assert cache.num_bytes <= 300
        kept = cache.get(key)
        assert kept is not None
        assert kept.shape[2] == pixels
    sizes_kept = {key: kept.nbytes for key in range(6) if (kept := cache.get(key)) is not None}
    assert sum(sizes_kept.values()) == cache.num_bytes


def test_frames_larger_than_the_cache_are_not_kept():
    cache = FrameCache(300)
    cache.put("small", np.zeros((1, 1, 10, 3), np.uint8))
    cache.put("large", np.zeros((1, 1, 200, 3), np.uint8))
    assert cache.get("large") is None
    assert cache.get("small") is not None
