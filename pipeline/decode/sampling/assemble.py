"""Assembles a timeline of frames into clips of resized pixels, with one clip in memory at a time."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.sampling.cut_clips import Piece, cut
from bitmill.pipeline.decode.sampling.timeline import FrameT, Sample, TimelineEnd
from bitmill.pipeline.items import Crop, DecodedClip
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.requests.job import SamplingSpec


@dataclass(frozen=True, slots=True)
class FittedFrame:
    """A frame ready for the tokenizer, with the size of its source frame."""

    pixels_HWC: npt.NDArray[np.uint8]
    """[H, W, 3] RGB."""
    source_height: int
    source_width: int
    crop: Crop


@dataclass(frozen=True, slots=True)
class Assembled:
    """The result of a timeline; ``timeline`` is None if max_frames ended it."""

    num_clips: int
    num_samples: int
    num_dropped: int
    """Samples that are in no clip."""
    timeline: TimelineEnd | None


class _Drawing(Generic[FrameT]):
    """Draws each frame once, even if it is sampled several times."""

    def __init__(self, draw: Callable[[FrameT], FittedFrame]) -> None:
        self._draw = draw
        self._last: tuple[FrameT, FittedFrame] | None = None

    def __call__(self, frame: FrameT) -> FittedFrame:
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._draw(frame))
        return self._last[1]


def assemble(
    samples: Iterable[Sample[FrameT] | TimelineEnd],
    draw: Callable[[FrameT], FittedFrame],
    *,
    sampling: SamplingSpec,
    drop_to: Geometry | None,
    max_frames: int,
    native_fps: float | None,
) -> Generator[DecodedClip, None, Assembled]:
    """Yields clips, each as soon as it is full; returns what the timeline was like.

    With ``drop_to`` a clip ends at the last length that this geometry allows; a shorter one is dropped.
    """
    drawing = _Drawing(draw)
    # Not the source's frames: the pixels of a clip of them may exceed the item's memory.
    run: list[Sample[FittedFrame]] = []
    num_clips = num_samples = num_kept = 0
    timeline: TimelineEnd | None = None
    for item in cut(samples, clip_frames=sampling.num_clip_frames, max_frames=max_frames):
        if not isinstance(item, Piece):
            timeline = item
            continue
        num_samples += 1
        run.append(Sample(item.sample.at_ns, item.sample.pts_ns, drawing(item.sample.frame)))
        if item.closes_at_ns is None:
            continue
        kept = _kept(len(run), sampling.min_frames, drop_to)
        if kept:
            num_clips, num_kept = num_clips + 1, num_kept + kept
            end_ns = item.closes_at_ns if kept == len(run) else run[kept].at_ns
            yield _clip(run[:kept], end_ns, sampling.fps or native_fps)
        run = []
    return Assembled(num_clips, num_samples, num_samples - num_kept, timeline)


def _kept(num_frames: int, min_frames: int, drop_to: Geometry | None) -> int:
    """Returns how many frames of a clip are kept."""
    if num_frames < min_frames:
        return 0
    return num_frames if drop_to is None else drop_to.legal_at_most(num_frames) or 0


def _clip(run: list[Sample[FittedFrame]], end_ns: int, fps: float | None) -> DecodedClip:
    first = run[0].frame
    return DecodedClip(
        frames_THWC=np.stack([taken.frame.pixels_HWC for taken in run]),
        frame_pts_ns=np.array([taken.pts_ns for taken in run], np.int64),
        start_ns=run[0].at_ns,
        end_ns=end_ns,
        fps=fps,
        source_height=first.source_height,
        source_width=first.source_width,
        crop=first.crop,
    )
