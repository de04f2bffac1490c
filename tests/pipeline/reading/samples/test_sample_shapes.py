"""Shapes that cannot be: what the messages say, and to whom."""

import numpy as np
import pytest

from bitmill.pipeline.reading.samples.sample_shapes import Clips, FrameWindows, Packing, Padding
from bitmill.schemas.errors import UsageError


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
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
