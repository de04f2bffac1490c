"""Which frames an item's clips hold, by presentation time: pure integer arithmetic, no media library."""

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
"""A larger gap between two frames is taken for broken timestamps, not for a still picture."""
_USUAL_NS = SECOND_NS // 25
"""A frame's duration where nothing tells it."""

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
    """Which frame a grid point gets is judged in whole milliseconds, and so the same in every container.

    ``edge_ns`` is the point's time as judged, ``at_ns`` the one that is told.
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
    """The time in whole milliseconds, rounded half up, as containers that count these have it."""
    return (time_ns + MS_NS // 2) // MS_NS * MS_NS


@dataclass(frozen=True, slots=True)
class _Shown(Generic[FrameT]):
    """A frame and the time at which it leaves the screen, exact and as judged."""

    frame: Timed[FrameT]
    until_ns: int
    until_edge_ns: int
    followed: bool
    """Whether another frame takes its place."""

    @property
    def from_edge_ns(self) -> int:
        return _edge_ns(self.frame.pts_ns)

    def takes(self, edge_ns: int, *, first: bool) -> bool:
        """Whether a grid point is this frame's, if no frame's before.

        A follower within the tolerance of a grid point is the one to take there, so this one ends before. So
        does the last frame: its rounded end must not make room for another sample of it. Yet one that begins
        the grid gets the first point, however short it is.
        """
        begins = first and not self.followed and edge_ns == self.from_edge_ns
        return begins or edge_ns < self.until_edge_ns - TOLERANCE_NS


class _Timeline(Generic[FrameT]):
    """Frames with the time at which each leaves the screen; counts them and catches what ends them."""

    def __init__(self, frames: Iterable[Timed[FrameT]], guessed_fps: float | None) -> None:
        self._frames = iter(frames)
        self.frame_ns = round(SECOND_NS / guessed_fps) if guessed_fps else _USUAL_NS
        self.num_frames = 0
        self.media_end_ns: int | None = None
        self.fault: BadItemError | None = None

    def intervals(self) -> Iterator[_Shown[FrameT]]:
        """Every frame but those whose times are broken."""
        held, before = self._next(), None
        while held is not None:
            follower = self._next()
            gap_ns = 0 if follower is None else follower.pts_ns - held.pts_ns
            if follower is None or gap_ns > LONGEST_HOLD_NS:
                self.frame_ns = self._last_duration(held, before, gap_ns)
                self.media_end_ns = held.pts_ns + self.frame_ns
                # Containers that count milliseconds cut durations off.
                edge_ns = _edge_ns(held.pts_ns) + self.frame_ns // MS_NS * MS_NS
                yield _Shown(held, self.media_end_ns, edge_ns, followed=False)
                return
            self.frame_ns = gap_ns
            yield _Shown(held, follower.pts_ns, _edge_ns(follower.pts_ns), followed=True)
            held, before = follower, held

    def _last_duration(self, held: Timed[FrameT], before: Timed[FrameT] | None, gap_ns: int) -> int:
        """How long a frame is shown that none follows, or only one behind a broken gap: then as is usual.

        An average rate says nothing there, for it was reckoned with the gap.
        """
        told_ns = held.duration_ns or 0
        if gap_ns:
            broken = f"Two consecutive frames are {gap_ns // SECOND_NS} seconds apart; the rest was left out."
        elif told_ns > LONGEST_HOLD_NS:
            broken = (
                f"The last frame is told to stay for {told_ns // SECOND_NS} seconds; it was held as usual."
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
