"""Makes one sample: its source's downscaled frames, from the cache or the file, and the drawn crop."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bitmill.pipeline.decode.clip_events import check_span
from bitmill.pipeline.decode.image.images import open_image
from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.video.probe import VideoFacts, probe
from bitmill.pipeline.storage import ObjectInfo, stage
from bitmill.pipeline.training.data.crop import crop
from bitmill.pipeline.training.data.downscale import downscaled_image, downscaled_segment, short_side
from bitmill.pipeline.training.data.frame_cache import FrameCache, Frames
from bitmill.pipeline.training.data.sample_schedule import Draw
from bitmill.pipeline.training.data.segments import Segment, segment_at, segment_frames
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.training_data import DataSpec

_PASSING = frozenset({Reason.READ_ERROR, Reason.OUT_OF_MEMORY})
"""Faults that may not recur, so the source stays usable."""
_CROWDED = 4
"""Most frames of a segment, in multiples of the usual number, if timestamps are dense."""


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Settings for making clips from sources."""

    spec: DataSpec
    sizes: tuple[SizePx, ...]
    """Of the crops, (height, width)."""
    num_frames: int
    """Frames T of a video clip."""
    least_frames: int
    """A shorter clip of a short video is returned as it is from this length on."""
    pixel_rule: Literal[1, 2] = 1


@dataclass(frozen=True, kw_only=True)
class SampleTask:
    """A source, and the random numbers drawn for its sample."""

    source: PlannedSource
    draw: Draw
    num_frames: int
    size_px: SizePx


@dataclass(frozen=True, kw_only=True)
class FailedTask:
    """Why a task yielded no clip."""

    reason: Reason
    detail: str
    lasting: bool
    """Whether every draw of this source fails, now and later."""


class ClipMaker:
    """Makes samples one by one; its caches affect only speed."""

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._spec = settings.spec
        self._short_px = partial(short_side, sizes=settings.sizes, crop_scale=settings.spec.crop_scale[1])
        self._cache = FrameCache(settings.spec.cache_bytes)
        self._facts: dict[PlannedSource, VideoFacts] = {}
        """Facts of the videos seen so far; other sources seen are pictures."""

    def make(self, task: SampleTask) -> Frames | FailedTask:
        """Return the clip, uint8 [T, *size_px, 3], or a FailedTask for a bad source.

        T is the task's ``num_frames``, or as many as a short video has.
        """
        try:
            frames_THWC, within = self._frames(task)
            first = int(within * max(len(frames_THWC) - task.num_frames + 1, 1))
            clip_THWC = frames_THWC[first : first + task.num_frames]
            scale, flip = self._spec.crop_scale, self._spec.flip
            return crop(clip_THWC, task.draw, size_px=task.size_px, crop_scale=scale, flip=flip)
        except BadItemError as fault:
            return self._failure(task, fault)
        except MemoryError:
            return self._failure(task, BadItemError(Reason.OUT_OF_MEMORY, "The decoder ran out of memory."))

    def _frames(self, task: SampleTask) -> tuple[Frames, float]:
        """Return enough downscaled frames for a clip, and the clip's relative start, in [0, 1)."""
        index, within = self._place(task)
        frames = self._cache.get((task.source, index))
        if frames is None:
            with _staged(task.source) as path:
                frames = self._decoded(path, task)
            index, within = self._place(task)
            self._cache.put((task.source, index), frames)
        if len(frames) < self._least(task):
            detail = f"It has {len(frames)} sampled frames; a clip needs {self._least(task)}."
            raise BadItemError(Reason.TOO_SHORT, detail)
        return frames, within

    def _least(self, task: SampleTask) -> int:
        return min(task.num_frames, self._settings.least_frames)

    def _place(self, task: SampleTask) -> tuple[int, float]:
        """Return the drawn segment's index and the position in it; 0 for pictures and unseen sources."""
        segment = self._segment(task)
        return (0, 0.0) if segment is None else (segment[0].index, segment[1])

    def _segment(self, task: SampleTask) -> tuple[Segment, float] | None:
        facts = self._facts.get(task.source)
        if facts is None:
            return None
        span_ns, num_frames = task.source.span_ns, self._settings.num_frames
        return segment_at(task.draw.time, facts, span_ns, fps=self._spec.fps, num_frames=num_frames)

    def _decoded(self, path: str, task: SampleTask) -> Frames:
        """Decode the picture, or the drawn segment of the video."""
        facts = self._facts.get(task.source)
        if facts is None:
            image = open_image(path, max_pixels=self._spec.max_pixels)
            if image is not None:
                with image:
                    return downscaled_image(image, path, self._short_px)
            facts = probe(path, max_pixels=self._spec.max_pixels)
            check_span(task.source.span_ns, facts.start_ns, facts.end_ns)
            self._facts[task.source] = facts
        found = self._segment(task)
        assert found is not None
        return downscaled_segment(
            path,
            facts,
            span_ns=found[0].span_ns,
            fps=self._spec.fps,
            max_frames=_CROWDED * segment_frames(self._settings.num_frames),
            least_frames=self._least(task),
            short_px=self._short_px,
            max_pixels=self._spec.max_pixels,
            pixel_rule=self._settings.pixel_rule,
        )

    def _failure(self, task: SampleTask, fault: BadItemError) -> FailedTask:
        segment = self._segment(task)
        whole = segment is None or segment[0].count == 1
        lasting = whole and fault.reason not in _PASSING
        return FailedTask(reason=fault.reason, detail=fault.detail, lasting=lasting)


@contextmanager
def _staged(source: PlannedSource) -> Generator[str]:
    """Yield a local file with the source's bytes; converts library errors to BadItemError."""
    with stage(ObjectInfo.of(source)) as staged:
        try:
            if not source.size_bytes:
                raise BadItemError(Reason.EMPTY_FILE, "The file is empty.")
            yield staged.path
        except (BadItemError, MemoryError):
            raise
        except Exception as error:
            raise library_fault(error, staged.path) from error
