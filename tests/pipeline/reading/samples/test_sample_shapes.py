"""Shapes that cannot be: what the messages say, and to whom."""

import numpy as np
import pytest

from bitmill.pipeline.reading.samples.grid_buckets import GridBuckets
from bitmill.pipeline.reading.samples.sample_shapes import Clips, FrameWindows, Packing, Padding
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.coded_datasets import GEOMETRIES


def shapes(*rows: tuple[int, int, int]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 3)


@pytest.mark.parametrize(
    ("shape", "clips", "message"),
    [
        (
            Clips(),
            [(4, 2, 2), (3, 2, 2)],
            r"The clips have 2 shapes \(4×2×2, 3×2×2\), which cannot be stacked",
        ),
        (Clips(), [(n, 2, 2) for n in range(1, 7)], r"6 shapes \(1×2×2, 2×2×2, 3×2×2, 4×2×2, …\)"),
        (FrameWindows(2), [(4, 2, 2), (4, 3, 2)], r"2 token grids \(2×2, 3×2\), .*GridBuckets\(Fr"),
        (FrameWindows(5), [(4, 2, 2), (2, 2, 2)], "No clip has 5 frames; the longest has 4"),
        (Padding(), [(4, 2, 2), (4, 3, 2)], r"2 token grids \(2×2, 3×2\), .*GridBuckets\(Padding\(n"),
        (Padding(3), [(4, 2, 2)], r"A clip has 4 frames, more than Padding\(3\) allows"),
        (Packing(15), [(1, 4, 4)], "A frame takes 16 tokens, more than a row of 15"),
        (Packing(16, start_tokens=True), [(1, 4, 4)], "A frame takes 17 tokens, more than a row of 16"),
    ],
)
def test_clips_that_cannot_make_such_samples_are_refused(shape, clips, message):
    with pytest.raises(UsageError, match=message):
        shape.check(shapes(*clips))


@pytest.mark.parametrize(
    ("shape", "clips"),
    [
        (Clips(), [(4, 2, 3)]),
        (FrameWindows(3, 1), [(1, 2, 2), (3, 2, 2)]),
        (Padding(), [(1, 2, 2), (3, 2, 2)]),
        (Padding(3), [(3, 2, 2)]),
        (Packing(17, start_tokens=True), [(9, 4, 4), (1, 1, 1)]),
    ],
)
def test_clips_that_can_pass(shape, clips):
    shape.check(shapes(*clips))
    shape.check(shapes())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrameWindows(0), "at least 1 frame"),
        (lambda: FrameWindows(1, 0), "a stride of at least 1"),
        (lambda: Packing(0), "at least 1 token per row"),
        (lambda: Padding(0), "Padding needs at least 1 frame"),
        (lambda: Padding(4, unit="seconds"), "unit must be rows or frames, not 'seconds'"),
        (lambda: FrameWindows(4, unit="row"), "unit must be rows or frames, not 'row'"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


# Lengths in frames of the video

LED = GEOMETRIES["digits"]
"""4 frames a row after a lead frame, at most 17."""
PLAIN = Geometry(patch_px=(8, 8), frames_per_token=4, min_frames=8, code=Code.of_bits(18))


@pytest.mark.parametrize(
    ("shape", "geometry", "expected"),
    [
        (FrameWindows(17, unit="frames"), LED, FrameWindows(5)),
        (FrameWindows(14, unit="frames"), LED, FrameWindows(5)),
        (FrameWindows(1, unit="frames"), LED, FrameWindows(1)),
        (FrameWindows(2, unit="frames"), LED, FrameWindows(2)),
        (FrameWindows(13, 4, unit="frames"), LED, FrameWindows(4, 1)),
        (FrameWindows(13, 5, unit="frames"), LED, FrameWindows(4, 2)),
        (FrameWindows(1, 1, unit="frames"), PLAIN, FrameWindows(2, 1)),
        (FrameWindows(9, unit="frames"), PLAIN, FrameWindows(3)),
        (FrameWindows(9), PLAIN, FrameWindows(9)),
        (Padding(10, unit="frames"), LED, Padding(4)),
        (Padding(unit="frames"), LED, Padding()),
        (Padding(3), LED, Padding(3)),
        (GridBuckets(Padding(10, unit="frames"), 64), LED, GridBuckets(Padding(4), 64)),
        (GridBuckets(), LED, GridBuckets()),
        (Packing(40), LED, Packing(40)),
    ],
)
def test_lengths_in_frames_are_rounded_up_to_legal_ones(shape, geometry, expected):
    assert shape.in_rows(geometry) == expected


def test_lengths_that_no_clip_has_are_refused():
    for shape in (FrameWindows(18, unit="frames"), Padding(18, unit="frames")):
        with pytest.raises(UsageError, match=r"clips have at most 17 frames, fewer than .*=18"):
            shape.in_rows(LED)
    with pytest.raises(UsageError, match="tokens of a pyramid have no frames to count"):
        Padding(1, unit="frames").in_rows(GEOMETRIES["pyramid"])


def test_what_states_are_hashed_of_is_as_it_was():
    """The repr of a shape is part of every saved state."""
    assert [repr(shape) for shape in (Clips(), FrameWindows(3, 1), Padding(), Packing(9, times=True))] == [
        "Clips()",
        "FrameWindows(num_frames=3, stride=1)",
        "Padding(num_frames=None)",
        "Packing(num_tokens=9, start_tokens=False)",
    ]
    assert repr(FrameWindows(3, unit="frames")) == "FrameWindows(num_frames=3, stride=None, unit='frames')"
    assert repr(Padding(unit="frames")) == "Padding(num_frames=None, unit='frames')"
