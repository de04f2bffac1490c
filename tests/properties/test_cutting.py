"""Laws of cutting clips into samples: nothing twice, nothing lost that should be there, all within bounds."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.samples.sample_shapes import Clips, Cut, FrameWindows, Packing, Padding

SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)), max_size=12)
ONE_GRID = st.lists(st.tuples(st.integers(1, 9), st.just(2), st.just(3)), max_size=12)


def array(shapes) -> np.ndarray:
    return np.array(shapes, np.int64).reshape(-1, 3)


def pieces_of(cut: Cut) -> list[list[tuple[int, int, int, int]]]:
    """Clip, first frame, frames and place of each sample's pieces."""
    table = np.stack((cut.clips, cut.first_frames, cut.num_frames, cut.places), axis=1).tolist()
    bounds = cut.sample_starts.tolist()
    assert bounds[0] == 0
    assert bounds[-1] == len(table)
    return [[tuple(piece) for piece in table[a:b]] for a, b in pairwise(bounds)]


@given(ONE_GRID, st.sampled_from([Clips(), Padding(), Padding(9)]))
def test_whole_clips_are_samples_in_order(shapes, shape):
    samples = pieces_of(shape.cut(array(shapes)))
    assert samples == [[(clip, 0, frames, 0)] for clip, (frames, _, _) in enumerate(shapes)]
    assert shape.count(array(shapes)).tolist() == [1] * len(shapes)


@given(ONE_GRID, st.integers(1, 10), st.none() | st.integers(1, 10))
def test_windows_are_all_that_fit_into_their_clips(shapes, num_frames, stride):
    shape = FrameWindows(num_frames, stride)
    samples = pieces_of(shape.cut(array(shapes)))
    expected = [
        [(clip, first, num_frames, 0)]
        for clip, (frames, _, _) in enumerate(shapes)
        for first in range(0, frames - num_frames + 1, stride or num_frames)
    ]
    assert samples == expected
    counts = [sum(sample[0][0] == clip for sample in samples) for clip in range(len(shapes))]
    assert shape.count(array(shapes)).tolist() == counts


PACKINGS = st.builds(Packing, st.integers(17, 60), start_tokens=st.booleans())
"""Rows that hold a frame of every grid above, and its special token."""


@given(SHAPES, PACKINGS)
def test_packed_rows_hold_every_frame_once_and_side_by_side(shapes, shape):
    samples = pieces_of(shape.cut(array(shapes)))
    assert shape.count(array(shapes)).tolist() == [len(samples)]
    seen: list[tuple[int, int]] = []
    for sample in samples:
        assert sample
        place = 0
        for clip, first, frames, start in sample:
            _, height, width = shapes[clip]
            assert (start, frames > 0) == (place, True)
            place += frames * (height * width + shape.start_tokens)
            seen += [(clip, frame) for frame in range(first, first + frames)]
        assert place <= shape.num_tokens
    assert sorted(seen) == [
        (clip, frame) for clip, (frames, _, _) in enumerate(shapes) for frame in range(frames)
    ]


@given(SHAPES, PACKINGS)
def test_long_clips_are_cut_into_as_few_documents_as_hold_them(shapes, shape):
    cut = shape.cut(array(shapes))
    for clip, (frames, height, width) in enumerate(shapes):
        most = shape.num_tokens // (height * width + shape.start_tokens)
        assert np.count_nonzero(cut.clips == clip) == -(-frames // most)


@given(SHAPES, PACKINGS)
def test_packing_depends_on_nothing_but_shapes(shapes, shape):
    first, again = shape.cut(array(shapes)), shape.cut(array(shapes))
    for name in ("sample_starts", "clips", "first_frames", "num_frames", "places"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
