"""Samples frames by presentation time, in integer arithmetic and without a media library."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

FrameT = TypeVar("FrameT")

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
TOLERANCE_NS = MS_NS
"""Containers with millisecond clocks (Matroska, FLV) round a frame's time by up to this much."""
LONGEST_HOLD_NS = 600 * SECOND_NS
"""A larger gap between two frames counts as broken timestamps, not as a still picture."""
MOST_NS = 2**63 - 1
"""The latest time that tables store."""
_USUAL_NS = SECOND_NS // 25
"""A frame's duration if nothing specifies it."""

Span = tuple[int | None, int | None]
"""[start, end) in nanoseconds of the source's clock; None is unbounded."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[FrameT]):
    """A frame shown from ``pts_ns`` on; ``duration_ns`` is None if the container does not specify it."""

    pts_ns: int
    duration_ns: int | None
    frame: FrameT


@dataclass(frozen=True, slots=True)
class Sample(Generic[FrameT]):
    """A frame sampled at ``at_ns``: its grid time, or its own time without a grid."""

    at_ns: int
    pts_ns: int
    frame: FrameT


@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """The end and totals of a timeline."""

    end_ns: int
    """When the last frame stops being shown, or the span's end if that is earlier."""
    num_frames: int
    """Frames read, sampled or not."""
    media_end_ns: int | None
    """End of the media's last frame; None if reading stopped earlier, at the span's end."""
    frame_ns: int
    """How long the last frame read is shown."""
    fault: BadItemError | None
    """Why the frames ended early, if they did."""


def exact_rate(fps: float) -> Fraction:
    """Returns the rate that a float represents: 29.97 is 2997/100; 30000/1001 keeps its exact value."""
    return Fraction(fps).limit_denominator(100_000) or Fraction(fps)


def grid_time(origin_ns: int, index: int, rate: Fraction) -> int:
    """Returns ``origin + index/rate`` in ns, rounded half up from the exact value: no error accumulates."""
    numerator = 2 * index * SECOND_NS * rate.denominator + rate.numerator
    return origin_ns + numerator // (2 * rate.numerator)


def sample(
    frames: Iterable[Timed[FrameT]], *, span_ns: Span, fps: float | None, native_fps: float | None
) -> Iterator[Sample[FrameT] | TimelineEnd]:
    """Yields samples in time order, then exactly one TimelineEnd; reads one frame ahead.

    ``frames`` must strictly increase in time. If they raise BadItemError, the timeline ends with that
    ``fault``, and the last intact frame keeps its own duration. ``native_fps`` is only used to guess the
    duration of a single frame.
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
    for shown in timeline.intervals():
        held = shown.frame
        if stop_ns is not None and held.pts_ns >= stop_ns:
            break
        if start_ns is None or held.pts_ns >= start_ns:
            yield Sample(held.pts_ns, held.pts_ns, held.frame)
            last_end_ns = shown.until_ns if stop_ns is None else min(shown.until_ns, stop_ns)
    return last_end_ns


def _on_grid(
    timeline: "_Timeline[FrameT]", span_ns: Span, rate: Fraction
) -> Generator[Sample[FrameT], None, int]:
    """Assigns frames to grid points in whole milliseconds, so that every container yields the same samples.

    ``edge_ns`` is the point's time used for this comparison, ``at_ns`` the exact time that is reported.
    """
    start_ns, stop_ns = span_ns
    origins_ns: tuple[int, int] | None = None
    index = at_ns = edge_ns = last_end_ns = 0
    for shown in timeline.intervals():
        if origins_ns is None:
            at_ns, edge_ns = (
                first_ns if start_ns is None else max(start_ns, first_ns)
                for first_ns in (shown.frame.pts_ns, shown.from_edge_ns)
            )
            origins_ns = at_ns, edge_ns
        while shown.takes(edge_ns, first=not index) and (stop_ns is None or at_ns < stop_ns):
            yield Sample(at_ns, shown.frame.pts_ns, shown.frame.frame)
            index += 1
            at_ns, edge_ns = (grid_time(origin_ns, index, rate) for origin_ns in origins_ns)
        last_end_ns = shown.until_ns if stop_ns is None else min(shown.until_ns, stop_ns)
        if stop_ns is not None and at_ns >= stop_ns:
            return stop_ns if shown.followed else last_end_ns
    return last_end_ns


def _edge_ns(time_ns: int) -> int:
    """Returns the time in whole ms, rounded half up, as containers with millisecond clocks store it."""
    return (time_ns + MS_NS // 2) // MS_NS * MS_NS


@dataclass(frozen=True, slots=True)
class _Shown(Generic[FrameT]):
    """A frame and the time at which it stops being shown, exact and in whole milliseconds."""

    frame: Timed[FrameT]
    until_ns: int
    until_edge_ns: int
    followed: bool
    """Whether another frame follows."""

    @property
    def from_edge_ns(self) -> int:
        return _edge_ns(self.frame.pts_ns)

    def takes(self, edge_ns: int, *, first: bool) -> bool:
        """Returns whether a grid point belongs to this frame, given that it belongs to no earlier one.

        A grid point within the tolerance before the next frame belongs to that frame. The tolerance also
        applies to the end of the last frame, whose rounding must not add a sample. But a last frame that
        begins the grid gets the first point, however short it is.
        """
        begins = first and not self.followed and edge_ns == self.from_edge_ns
        return begins or edge_ns < self.until_edge_ns - TOLERANCE_NS


class _Timeline(Generic[FrameT]):
    """Computes until when each frame is shown; counts frames and catches the error that ends them."""

    def __init__(self, frames: Iterable[Timed[FrameT]], guessed_fps: float | None) -> None:
        self._frames = iter(frames)
        self.frame_ns = round(SECOND_NS / guessed_fps) if guessed_fps else _USUAL_NS
        self.num_frames = 0
        self.media_end_ns: int | None = None
        self.fault: BadItemError | None = None

    def intervals(self) -> Iterator[_Shown[FrameT]]:
        """Yields every frame, up to a broken gap in time."""
        held, before = self._next(), None
        while held is not None:
            follower = self._next()
            gap_ns = 0 if follower is None else follower.pts_ns - held.pts_ns
            if follower is None or gap_ns > LONGEST_HOLD_NS:
                self.frame_ns = self._last_duration(held, before, gap_ns)
                self.media_end_ns = held.pts_ns + self.frame_ns
                # Containers with millisecond clocks truncate durations.
                edge_ns = _edge_ns(held.pts_ns) + self.frame_ns // MS_NS * MS_NS
                yield _Shown(held, self.media_end_ns, edge_ns, followed=False)
                return
            self.frame_ns = gap_ns
            yield _Shown(held, follower.pts_ns, _edge_ns(follower.pts_ns), followed=True)
            held, before = follower, held

    def _last_duration(self, held: Timed[FrameT], before: Timed[FrameT] | None, gap_ns: int) -> int:
        """Returns how long the last frame, or the last before a broken gap (``gap_ns``), is shown.

        The average rate cannot be used after a broken gap, since it includes the gap.
        """
        told_ns = held.duration_ns or 0
        if gap_ns:
            broken = f"Two consecutive frames are {gap_ns // SECOND_NS} seconds apart; the rest was skipped."
        elif told_ns > LONGEST_HOLD_NS:
            broken = (
                f"The last frame has a duration of {told_ns // SECOND_NS} seconds; the usual one was assumed."
            )
        else:
            return min(told_ns or self.frame_ns, LONGEST_HOLD_NS)
        self.fault = self.fault or BadItemError(Reason.BAD_TIMESTAMPS, broken)
        if 0 < told_ns <= LONGEST_HOLD_NS:
            return told_ns
        return _USUAL_NS if before is None else held.pts_ns - before.pts_ns

    def _next(self) -> Timed[FrameT] | None:
        try:
            frame = next(self._frames, None)
        except BadItemError as fault:
            self.fault = fault
            return None
        self.num_frames += frame is not None
        return frame
