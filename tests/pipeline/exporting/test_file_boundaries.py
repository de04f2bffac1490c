"""Cuts tile the clips, keep to the bound, and follow from the clips alone."""

from itertools import pairwise
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.exporting.file_boundaries import ContentsSum, PortionCutter

SIZES = st.lists(st.integers(0, 100), max_size=60)


def _cut(sizes, max_bytes):
    cutter = PortionCutter(max_bytes)
    for number, size in enumerate(sizes):
        cutter.add(size, number, 2 * number)
    return cutter.finish()


@given(SIZES, st.integers(1, 200))
def test_portions_tile_the_clips_within_the_bound(sizes, max_bytes):
    portions = _cut(sizes, max_bytes)
    first = 0
    for portion in portions:
        numbers = range(first, first + portion.num_clips)
        assert portion.first_clip == first
        assert portion.num_clips > 0
        assert portion.num_frames == sum(numbers)
        assert portion.num_tokens == 2 * sum(numbers)
        assert portion.num_clips == 1 or sum(sizes[number] for number in numbers) <= max_bytes
        first += portion.num_clips
    assert first == len(sizes)


@given(SIZES, st.integers(1, 200))
def test_no_file_could_have_held_the_next_clip(sizes, max_bytes):
    portions = _cut(sizes, max_bytes)
    for portion, following in pairwise(portions):
        upto = following.first_clip + 1
        assert sum(sizes[portion.first_clip : upto]) > max_bytes


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)), min_size=1))
def test_contents_tell_what_clips_have_in_common(shapes):
    total = ContentsSum()
    for shape in shapes:
        total.add(shape, 8.0, prod(shape))
    contents = total.contents()
    assert contents.clips == len(shapes)
    assert contents.frames == sum(shape[0] for shape in shapes)
    assert contents.tokens == sum(t * h * w for t, h, w in shapes)
    for axis, size in enumerate(contents.shape_THW):
        assert ({shape[axis] for shape in shapes} == {size}) == (size is not None)
    assert contents.fps == 8.0


def test_a_rate_that_one_clip_lacks_is_no_common_one():
    total = ContentsSum()
    total.add((1, 2, 2), None, 4)
    assert total.contents().fps is None
    total.add((4, 2, 2), 8.0, 16)
    assert total.contents().fps is None
