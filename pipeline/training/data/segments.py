"""Divides a video's time into segments, each decoded and cached as a whole; pure functions.

A clip is inside one segment. So the cache serves any clip of a cached segment, and decoding a clip costs one
seek and one segment, whatever the video's length.
"""

from dataclasses import dataclass
from math import floor

from bitmill.pipeline.decode.sampling.timeline import SECOND_NS, Span
from bitmill.pipeline.decode.video.probe import VideoFacts

_LEAST_FRAMES = 16
_UNTOLD_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a source's time; the last one includes the remainder, so it has up to twice the length."""

    index: int
    count: int
    """Number of segments of the source."""
    span_ns: Span
    """[start, end); None is open, at the ends of a source that no manifest limits."""


def segment_frames(num_frames: int) -> int:
    """Return the sampled frames per segment: two clips, for distinct starts; at least 16."""
    return max(2 * num_frames, _LEAST_FRAMES)


def segment_at(
    time: float, facts: VideoFacts, wanted_ns: Span, *, fps: float | None, num_frames: int
) -> tuple[Segment, float]:
    """Return the segment at ``time`` in [0, 1) of the wanted span, and the position in it, in [0, 1).

    Segments are equally likely. Their length follows from ``fps``, or from the video's average rate.
    """
    start_ns, end_ns = _extent(facts, wanted_ns)
    length_ns = round(segment_frames(num_frames) * SECOND_NS / (fps or _average_fps(facts)))
    count = max(1, (end_ns - start_ns) // length_ns)
    index = min(floor(time * count), count - 1)
    first = wanted_ns[0] if index == 0 else start_ns + index * length_ns
    last = wanted_ns[1] if index == count - 1 else start_ns + (index + 1) * length_ns
    return Segment(index, count, (first, last)), time * count - index


def _average_fps(facts: VideoFacts) -> float:
    if facts.average_fps:
        return facts.average_fps
    duration_ns = (facts.end_ns or 0) - (facts.start_ns or 0)
    return facts.num_shown * SECOND_NS / duration_ns if duration_ns > 0 else _UNTOLD_FPS


def _extent(facts: VideoFacts, wanted_ns: Span) -> tuple[int, int]:
    first_ns = facts.start_ns or 0
    end_ns = facts.end_ns
    if end_ns is None:
        end_ns = first_ns + round(facts.num_shown * SECOND_NS / _average_fps(facts))
    start_ns = max(first_ns, wanted_ns[0] or first_ns)
    return start_ns, max(start_ns, end_ns if wanted_ns[1] is None else min(end_ns, wanted_ns[1]))
