"""Groups samples into clips: consecutive runs with adjacent, disjoint spans."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

from bitmill.pipeline.decode.sampling.timeline import FrameT, Sample, TimelineEnd


@dataclass(frozen=True, slots=True)
class Piece(Generic[FrameT]):
    """One sample of a clip; the clip's last piece contains the clip's end time."""

    sample: Sample[FrameT]
    closes_at_ns: int | None
    """None inside a clip; in its last piece the next sample's time, or the timeline's end."""


def cut(
    samples: Iterable[Sample[FrameT] | TimelineEnd], *, clip_frames: int, max_frames: int
) -> Iterator[Piece[FrameT] | TimelineEnd]:
    """Yields pieces, at most ``clip_frames`` per clip, then the TimelineEnd; reads one sample ahead.

    Takes at most ``max_frames`` samples; if there are more, no TimelineEnd follows.
    """
    held: Sample[FrameT] | None = None
    taken = 0
    for item in samples:
        if held is not None:
            taken += 1
            at_limit = isinstance(item, Sample) and taken == max_frames
            full = taken % clip_frames == 0 or at_limit or isinstance(item, TimelineEnd)
            next_ns = item.at_ns if isinstance(item, Sample) else item.end_ns
            yield Piece(held, next_ns if full else None)
            if at_limit:
                return
        if isinstance(item, TimelineEnd):
            yield item
        else:
            held = item
