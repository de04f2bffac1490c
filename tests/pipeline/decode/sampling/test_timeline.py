"""Laws of sampling and cutting, on made timelines."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.decode.sampling.cut_clips import Piece, cut
from bitmill.pipeline.decode.sampling.timeline import (
    LONGEST_HOLD_NS,
    SECOND_NS,
    TOLERANCE_NS,
    Sample,
    Timed,
    TimelineEnd,
    exact_rate,
    grid_time,
    sample,
)
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

MS = 1_000_000
steps_ms = st.lists(st.integers(2, 500), min_size=1, max_size=40)
rates = st.sampled_from([1.0, 2.5, 8.0, 23.976, 24.0, 25.0, 29.97, 30000 / 1001, 60.0])


def timeline(steps: list[int], first_ms: int = 0) -> list[Timed[int]]:
    """One frame a step; each lasts its step."""
    frames, at_ms = [], first_ms
    for index, step in enumerate(steps):
        frames.append(Timed(at_ms * MS, step * MS, index))
        at_ms += step
    return frames


def run(frames, fps, span=(None, None)) -> tuple[list[Sample[int]], TimelineEnd]:
    *samples, end = sample(frames, span_ns=span, fps=fps, native_fps=None)
    assert isinstance(end, TimelineEnd)
    return [taken for taken in samples if isinstance(taken, Sample)], end


@given(steps_ms, rates, st.integers(-1000, 1000))
def test_each_grid_point_gets_the_last_frame_presented_by_then(steps, fps, first_ms) -> None:
    frames = timeline(steps, first_ms)
    samples, end = run(frames, fps)
    assert end.end_ns == end.media_end_ns == (first_ms + sum(steps)) * MS
    for index, taken in enumerate(samples):
        assert taken.at_ns == grid_time(frames[0].pts_ns, index, exact_rate(fps))
        assert taken.at_ns < end.end_ns
        shown = [frame.frame for frame in frames if frame.pts_ns <= taken.at_ns + TOLERANCE_NS]
        assert taken.frame == shown[-1]
    next_ns = grid_time(frames[0].pts_ns, len(samples), exact_rate(fps))
    assert next_ns >= end.end_ns - TOLERANCE_NS


@given(steps_ms, st.integers(0, 3000), st.integers(1, 3000), st.one_of(st.none(), rates))
def test_samples_increase_and_lie_in_the_span(steps, start_ms, length_ms, fps) -> None:
    span = (start_ms * MS, (start_ms + length_ms) * MS)
    samples, end = run(timeline(steps), fps, span)
    times = [taken.at_ns for taken in samples]
    assert times == sorted(set(times))
    assert all(span[0] <= at_ns < span[1] for at_ns in times)
    assert all(at_ns < end.end_ns <= span[1] for at_ns in times)
    assert [taken.pts_ns for taken in samples] == sorted(taken.pts_ns for taken in samples)


@given(steps_ms, st.lists(st.integers(1, 2000), max_size=4))
def test_touching_spans_take_each_frame_once(steps, cuts_ms) -> None:
    edges = [0, *sorted({cut_ms * MS for cut_ms in cuts_ms}), 10**12]
    taken = [sampled.frame for span in pairwise(edges) for sampled in run(timeline(steps), None, span)[0]]
    assert taken == list(range(len(steps)))


@given(steps_ms, rates, st.integers(1, 7))
def test_clips_are_disjoint_touch_and_hold_every_sample(steps, fps, clip_frames) -> None:
    samples, end = run(timeline(steps), fps)
    pieces = list(cut([*samples, end], clip_frames=clip_frames, max_frames=10**6))
    assert [piece.sample for piece in pieces if isinstance(piece, Piece)] == samples
    assert pieces[-1] is end
    start_ns, length = samples[0].at_ns, 0
    for piece in pieces[:-1]:
        assert isinstance(piece, Piece)
        if length == 0:
            assert piece.sample.at_ns == start_ns
        length += 1
        assert (length == clip_frames or piece is pieces[-2]) == (piece.closes_at_ns is not None)
        if piece.closes_at_ns is not None:
            assert piece.closes_at_ns > start_ns
            start_ns, length = piece.closes_at_ns, 0
    assert start_ns == end.end_ns


@given(st.integers(0, 10**9), rates)
def test_grid_times_never_drift(index, fps) -> None:
    exact = index * SECOND_NS / exact_rate(fps)
    assert abs(grid_time(0, index, exact_rate(fps)) - exact) <= Fraction(1, 2)


def test_rates_are_what_their_floats_stand_for() -> None:
    assert exact_rate(29.97) == Fraction(2997, 100)
    assert exact_rate(30000 / 1001) == Fraction(30000, 1001)
    assert exact_rate(1e-7) > 0


def test_millisecond_clocks_do_not_double_or_lose_frames() -> None:
    rounded = [Timed(round(index * 1001 / 30) * MS, None, index) for index in range(300)]
    samples, _ = run(rounded, 30000 / 1001)
    assert [taken.frame for taken in samples] == list(range(300))


@pytest.mark.parametrize(
    ("duration_ns", "native_fps", "fps", "expected_ns"),
    [(70 * MS, 25.0, 5.0, 70 * MS), (None, 25.0, 5.0, 40 * MS), (None, None, 5.0, 200 * MS)],
)
def test_a_single_frame_lasts_as_long_as_is_known(duration_ns, native_fps, fps, expected_ns) -> None:
    *_, end = sample([Timed(0, duration_ns, 0)], span_ns=(None, None), fps=fps, native_fps=native_fps)
    assert isinstance(end, TimelineEnd)
    assert end.end_ns == expected_ns


def test_a_fault_ends_the_timeline_after_the_good_frames() -> None:
    def damaged():
        yield from timeline([40, 40, 40])
        raise BadItemError(Reason.CORRUPT, "damaged")

    samples, end = run(damaged(), None)
    assert [taken.frame for taken in samples] == [0, 1, 2]
    assert end.end_ns == 120 * MS
    assert end.fault is not None


def test_a_gap_of_hours_is_no_still_picture() -> None:
    frames = [Timed(0, 40 * MS, 0), Timed(LONGEST_HOLD_NS + 1, 40 * MS, 1)]
    samples, end = run(frames, 25.0)
    assert [taken.frame for taken in samples] == [0]
    assert end.fault is not None
    assert end.fault.reason is Reason.BAD_TIMESTAMPS


@pytest.mark.parametrize(
    ("frames", "lasts_ns"),
    [
        # The container tells the gap itself as the frame's duration, as MP4 does.
        ([Timed(0, 30_000 * SECOND_NS, 0), Timed(30_000 * SECOND_NS, 40 * MS, 1)], 40 * MS),
        ([Timed(0, None, 0), Timed(30_000 * SECOND_NS, None, 1)], 40 * MS),
        ([Timed(0, 100 * MS, 0), Timed(30_000 * SECOND_NS, 100 * MS, 1)], 100 * MS),
        (
            [*timeline([20, 20]), Timed(40 * MS, 30_000 * SECOND_NS, 2), Timed(30_001 * SECOND_NS, None, 3)],
            20 * MS,
        ),
        # No other frame follows, and the last one is said to stay for hours.
        ([*timeline([20, 20]), Timed(40 * MS, 30_000 * SECOND_NS, 2)], 20 * MS),
        ([Timed(0, 30_000 * SECOND_NS, 0)], 40 * MS),
    ],
)
def test_a_frame_before_a_broken_gap_is_shown_as_long_as_usual(frames, lasts_ns) -> None:
    # The stream's average rate is as broken as the gap that it was reckoned from.
    *samples, end = sample(frames, span_ns=(None, None), fps=100.0, native_fps=2 / 60_000)
    assert isinstance(end, TimelineEnd)
    last = max(frame.pts_ns for frame in frames if frame.pts_ns < SECOND_NS)
    assert end.end_ns == last + lasts_ns
    assert len(samples) == end.end_ns // (10 * MS)
    assert end.fault is not None
    assert end.fault.reason is Reason.BAD_TIMESTAMPS


def shown_in(time_base: Fraction, pts: list[Fraction], *, duration: Fraction) -> list[Timed[int]]:
    """The frames as a container with that clock gives them; times are rounded, durations cut off."""
    ticks = [math.floor(at / time_base + Fraction(1, 2)) for at in pts]
    lasts_ns = round(math.floor(duration / time_base) * time_base * SECOND_NS)
    return [Timed(round(tick * time_base * SECOND_NS), lasts_ns, index) for index, tick in enumerate(ticks)]


@given(
    st.sampled_from([Fraction(30000, 1001), Fraction(24000, 1001), Fraction(24), Fraction(60), Fraction(25)]),
    st.integers(1, 40),
    st.sampled_from([0, 1, 7]),
    st.sampled_from([29.97, 30000 / 1001, 24000 / 1001, 30.0, 4.8, 23.976, 1000 / 333, 1000 / 34, 125.0]),
    st.one_of(st.none(), st.integers(0, 2 * SECOND_NS)),
)
def test_the_same_frames_are_taken_out_of_any_container(rate, num_frames, first, fps, start_ns) -> None:
    pts = [index / rate for index in range(first, first + num_frames)]
    clocks = [1 / rate / 1001, Fraction(1, 90_000), Fraction(1, 1000)]
    taken = []
    for clock in clocks:
        samples, _ = run(shown_in(clock, pts, duration=1 / rate), fps, (start_ns, None))
        taken.append([one.frame for one in samples])
    assert taken[0] == taken[1] == taken[2]


def test_max_frames_closes_the_last_clip_and_gives_no_end() -> None:
    samples, end = run(timeline([40] * 10), None)
    pieces = list(cut([*samples, end], clip_frames=4, max_frames=6))
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert [piece.closes_at_ns for piece in pieces if isinstance(piece, Piece)][-1] == 240 * MS
    assert len(list(cut([*samples, end], clip_frames=4, max_frames=10))) == 11
