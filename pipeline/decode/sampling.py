"""Which frames an item's clips hold, by presentation time: pure integer arithmetic, no media library."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

FrameT = TypeVar("FrameT")

SECOND_NS = 1_000_000_000
TOLERANCE_NS = 1_000_000
"""Containers with millisecond clocks (Matroska, FLV) round a frame's time by up to this much."""
LONGEST_HOLD_NS = 600 * SECOND_NS
"""A larger gap between two frames is taken for broken timestamps, not for a still picture."""

Span = tuple[int | None, int | None]
"""[start, end) in nanoseconds of the source's clock; null is open."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[FrameT]):
    """A frame as shown from ``pts_ns`` on; ``duration_ns`` is null where the container does not say."""

    pts_ns: int
    duration_ns: int | None
    frame: FrameT


@dataclass(frozen=True, slots=True)
class Sample(Generic[FrameT]):
    """A frame taken at ``at_ns``: its grid time, or its own time where there is no grid."""

    at_ns: int
    pts_ns: int
    frame: FrameT


@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """What a timeline came to."""

    end_ns: int
    """When the last frame leaves the screen, or the span's end where that is earlier."""
    num_frames: int
    """Frames read, sampled or not."""
    media_end_ns: int | None
    """End of the last frame there is; null where reading stopped before it, at the span's end."""
    frame_ns: int
    """How long the last frame read is shown."""
    fault: BadItemError | None
    """Why the frames ended early, if they did."""


def exact_rate(fps: float) -> Fraction:
    """The rate that a float stands for: 29.97 is 2997/100, 30000/1001 keeps its own value."""
    return Fraction(fps).limit_denominator(100_000) or Fraction(fps)


def grid_time(origin_ns: int, index: int, rate: Fraction) -> int:
    """``origin + index/rate`` in nanoseconds, rounded half up from the exact value: errors never add up."""
    numerator = 2 * index * SECOND_NS * rate.denominator + rate.numerator
    return origin_ns + numerator // (2 * rate.numerator)


def sample(
    frames: Iterable[Timed[FrameT]], *, span_ns: Span, fps: float | None, native_fps: float | None
) -> Iterator[Sample[FrameT] | TimelineEnd]:
    """Samples in time order, then exactly one TimelineEnd; looks one frame ahead.

    ``frames`` must strictly increase in time. Where they raise BadItemError the timeline ends with that
    ``fault``, the last good frame keeping its own duration. ``native_fps`` serves only to guess the duration
    of a single frame.
    """
    timeline = _Timeline(frames, native_fps or fps)
    if fps is None:
        last_end_ns = yield from _each_frame(timeline, span_ns)
    else:
        last_end_ns = yield from _on_grid(timeline, span_ns, exact_rate(fps))
    yield TimelineEnd(
        last_end_ns, timeline.num_frames, timeline.media_end_ns, timeline.frame_ns, timeline.fault
    )


def _each_frame(timeline: "_Timeline[FrameT]", span_ns: Span) -> Generator[Sample[FrameT], None, int]:
    start_ns, stop_ns = span_ns
    last_end_ns = 0
    for held, until_ns, _ in timeline.intervals():
        if stop_ns is not None and held.pts_ns >= stop_ns:
            break
        if start_ns is None or held.pts_ns >= start_ns:
            yield Sample(held.pts_ns, held.pts_ns, held.frame)
            last_end_ns = until_ns if stop_ns is None else min(until_ns, stop_ns)
    return last_end_ns


def _on_grid(
    timeline: "_Timeline[FrameT]", span_ns: Span, rate: Fraction
) -> Generator[Sample[FrameT], None, int]:
    start_ns, stop_ns = span_ns
    origin_ns: int | None = None
    index = at_ns = last_end_ns = 0
    for held, until_ns, followed in timeline.intervals():
        if origin_ns is None:
            at_ns = origin_ns = held.pts_ns if start_ns is None else max(start_ns, held.pts_ns)
        # A follower within the tolerance of a grid point is the one to take there, so this one ends before.
        # So does the last frame: its rounded end must not make room for another sample of it. The first
        # grid point always gets one.
        shown_until_ns = until_ns - TOLERANCE_NS if followed or index else until_ns
        while at_ns < shown_until_ns and (stop_ns is None or at_ns < stop_ns):
            yield Sample(at_ns, held.pts_ns, held.frame)
            index += 1
            at_ns = grid_time(origin_ns, index, rate)
        last_end_ns = until_ns if stop_ns is None else min(until_ns, stop_ns)
        if stop_ns is not None and at_ns >= stop_ns:
            return stop_ns if followed else last_end_ns
    return last_end_ns


class _Timeline(Generic[FrameT]):
    """Frames with the time at which each leaves the screen; counts them and catches what ends them."""

    def __init__(self, frames: Iterable[Timed[FrameT]], guessed_fps: float | None) -> None:
        self._frames = iter(frames)
        self.frame_ns = round(SECOND_NS / guessed_fps) if guessed_fps else SECOND_NS // 25
        self.num_frames = 0
        self.media_end_ns: int | None = None
        self.fault: BadItemError | None = None

    def intervals(self) -> Iterator[tuple[Timed[FrameT], int, bool]]:
        """(frame, the time at which it leaves the screen, whether another frame takes its place)."""
        held = self._next()
        while held is not None:
            follower = self._next_within_reason(held)
            if follower is None:
                self.frame_ns = min(held.duration_ns or self.frame_ns, LONGEST_HOLD_NS)
                self.media_end_ns = held.pts_ns + self.frame_ns
                yield held, self.media_end_ns, False
                return
            self.frame_ns = follower.pts_ns - held.pts_ns
            yield held, follower.pts_ns, True
            held = follower

    def _next_within_reason(self, held: Timed[FrameT]) -> Timed[FrameT] | None:
        follower = self._next()
        if follower is None or follower.pts_ns - held.pts_ns <= LONGEST_HOLD_NS:
            return follower
        gap_s = (follower.pts_ns - held.pts_ns) // SECOND_NS
        self.fault = BadItemError(
            Reason.BAD_TIMESTAMPS, f"Two consecutive frames are {gap_s} seconds apart; the rest was left out."
        )
        return None

    def _next(self) -> Timed[FrameT] | None:
        try:
            frame = next(self._frames, None)
        except BadItemError as fault:
            self.fault = fault
            return None
        self.num_frames += frame is not None
        return frame
