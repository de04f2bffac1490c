"""Decodes one media file to clips and one end event; this package's entry point. Bad media never raises."""

import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitmill.pipeline.decode.image.images import (
    StillPicture,
    is_animation,
    num_pages,
    open_image,
    read_animation,
    read_still,
)
from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.pixels import planes
from bitmill.pipeline.decode.pixels.crop import centre_crop
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.decode.pixels.resize import fit
from bitmill.pipeline.decode.sampling.assemble import Assembled, FittedFrame, assemble
from bitmill.pipeline.decode.sampling.timeline import FrameT, Sample, Span, Timed, TimelineEnd, sample
from bitmill.pipeline.decode.video import decord_reader, pyav_reader
from bitmill.pipeline.decode.video.choose_decoder import Preference, choose
from bitmill.pipeline.decode.video.probe import VideoFacts, packet_times, probe
from bitmill.pipeline.decode.video.probe_cache import probe_once
from bitmill.pipeline.decode.video.seeking.sought_frames import SoughtFrames, sought_frames
from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemEvent, MediaFacts
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec

Failing = tuple[Reason, str]


class _Picture(Protocol):
    def rgb(self) -> tuple[npt.NDArray[np.uint8], Fraction]: ...


@dataclass
class _Item:
    """State of one file while it is decoded."""

    path: str
    span_ns: Span
    sampling: SamplingSpec
    sizes: FrameSizes
    limits: LimitsSpec
    pixel_rule: PixelRule
    drop_to: Geometry | None
    size: SizePx | None = None
    """Of its frames; its first frame decides."""
    facts: MediaFacts = field(default_factory=MediaFacts)
    num_source_frames: int = 0
    num_dropped_frames: int = 0

    def end(self, failing: Failing | None = None) -> ItemEnd:
        reason, detail = failing or (None, None)
        return ItemEnd(
            facts=self.facts,
            reason=reason,
            detail=detail,
            num_source_frames=self.num_source_frames,
            num_dropped_frames=self.num_dropped_frames,
        )

    def size_for(self, width: int, height: int, aspect: Fraction) -> SizePx:
        """Returns the item's size; the first frame, whose size after rotation is given, decides."""
        self.size = self.size or self.sizes.size_of(width, height, aspect)
        return self.size

    def by_rgb(self, picture: _Picture) -> FittedFrame:
        pixels, aspect = picture.rgb()
        height, width = pixels.shape[:2]
        size = self.size_for(width, height, aspect)
        return FittedFrame(fit(pixels, size, aspect), height, width, centre_crop(width, height, aspect, size))

    def by_planes(self, picture: pyav_reader.PyavPicture) -> FittedFrame:
        found, orientation = picture.planes(), picture.orientation
        height, width, aspect = found.height, found.width, picture.aspect
        if orientation.transpose:
            height, width, aspect = width, height, 1 / aspect
        size = self.size_for(width, height, aspect)
        pixels = planes.fit(found, size, picture.aspect, orientation)
        return FittedFrame(pixels, height, width, centre_crop(width, height, aspect, size))


def decode_item(
    path: str,
    *,
    span_ns: Span,
    sampling: SamplingSpec,
    sizes: FrameSizes,
    limits: LimitsSpec,
    pixel_rule: PixelRule,
    prefer: Preference = "auto",
    drop_to: Geometry | None = None,
) -> Iterator[ItemEvent]:
    """Yields clips of one of ``sizes``, each as soon as it is full, then exactly one ItemEnd.

    ``path`` is a local file; its format is detected by its bytes, never its name. ``span_ns`` is [start, end)
    in the media's own clock and is ignored for images. ``prefer="decord"`` requires ``pixel_rule`` 1.
    ``drop_to`` is that of ``assemble``. Any fault of the file becomes the end's reason; clips yielded before
    stay valid. A decoder may still hang or crash on hostile bytes, and memory is not limited here: call this
    in a process that can be killed.
    """
    item = _Item(path, span_ns, sampling, sizes, limits, pixel_rule, drop_to)
    try:
        _refuse_no_bytes(Path(path).stat())
        image = open_image(path, max_pixels=limits.max_pixels)
        if image is None:
            yield from _video(item, prefer)
        else:
            with image:
                yield from _animation(item, image) if is_animation(image) else _still(item, image)
    except BadItemError as fault:
        yield item.end((fault.reason, fault.detail))
    except MemoryError:
        yield item.end((Reason.OUT_OF_MEMORY, "The decoder ran out of memory."))
    except Exception as error:  # noqa: BLE001 - the only catch-all around an item
        fault = library_fault(error, path)
        yield item.end((fault.reason, fault.detail))


def _refuse_no_bytes(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadItemError(Reason.NOT_MEDIA, "It is a pipe, socket, device or folder, not a regular file.")
    if not status.st_size:
        raise BadItemError(Reason.EMPTY_FILE, "The file is empty.")


def _still(item: _Item, image: Image.Image) -> Iterator[ItemEvent]:
    item.facts = _image_facts(image, "image")
    frame = item.by_rgb(read_still(image, item.path))
    item.num_source_frames = 1
    item.facts = replace(item.facts, height=frame.source_height, width=frame.source_width)
    yield DecodedClip(
        frames_THWC=frame.pixels_HWC[None],
        frame_pts_ns=np.zeros(1, np.int64),
        start_ns=0,
        end_ns=0,
        fps=None,
        source_height=frame.source_height,
        source_width=frame.source_width,
        crop=frame.crop,
    )
    pages = num_pages(image, item.path)
    detail = f"The file has {pages} pages; only the first was tokenized."
    yield item.end((Reason.EXTRA_PAGES, detail) if pages > 1 else None)


def _animation(item: _Item, image: Image.Image) -> Iterator[ItemEvent]:
    item.facts = _image_facts(image, "animation")

    def draw(picture: StillPicture) -> FittedFrame:
        frame = item.by_rgb(picture)
        item.facts = replace(item.facts, height=frame.source_height, width=frame.source_width)
        return frame

    return _timeline(item, read_animation(image, item.path), draw, native_fps=None)


def _image_facts(image: Image.Image, media: str) -> MediaFacts:
    return MediaFacts(
        media="animation" if media == "animation" else "image",
        container=image.format,
        codec=image.format,
        decoder="pillow",
        height=image.height,
        width=image.width,
    )


def _video(item: _Item, prefer: Preference) -> Iterator[ItemEvent]:
    # More spans of the file may follow. Tar members, which are never spans, may reuse a path.
    look = probe if item.span_ns == (None, None) else probe_once
    found = look(item.path, max_pixels=item.limits.max_pixels)
    item.facts = _video_facts(found)
    check_span(item.span_ns, found.start_ns, found.end_ns)
    native_fps = item.facts.fps
    if choose(found, prefer=prefer, held_bytes=0) == "decord":
        by_decord = _by_decord(item, found, native_fps)
        if by_decord is not None:
            return by_decord
    draw = item.by_rgb if item.pixel_rule == 1 else item.by_planes
    if item.sampling.seek and item.sampling.fps is not None:
        sought = sought_frames(
            item.path,
            found,
            fps=item.sampling.fps,
            span_ns=item.span_ns,
            max_frames=item.limits.max_frames,
            max_pixels=item.limits.max_pixels,
            native_fps=native_fps,
        )
        if sought is not None:
            return _by_seeking(item, sought, draw, native_fps)
    frames = _by_pyav(item, found)
    return _timeline(item, frames, draw, native_fps=native_fps, lost=lambda: frames.lost)


def _by_seeking(
    item: _Item,
    frames: SoughtFrames,
    draw: Callable[[pyav_reader.PyavPicture], FittedFrame],
    native_fps: float | None,
) -> Iterator[ItemEvent]:
    def draw_sampled(picture: pyav_reader.PyavPicture | None) -> FittedFrame:
        if picture is None:
            raise ValueError("a frame was sampled that was not decoded")
        return draw(picture)

    def lost() -> BadItemError | None:
        if not frames.is_sought:
            item.facts = replace(item.facts, decoder="pyav")
        return frames.lost

    item.facts = replace(item.facts, decoder="pyav, sought")
    return _timeline(item, frames, draw_sampled, native_fps=native_fps, lost=lost)


def _by_pyav(item: _Item, found: VideoFacts) -> pyav_reader.Frames:
    return pyav_reader.Frames(item.path, found, span_ns=item.span_ns, max_pixels=item.limits.max_pixels)


def _decord_times(item: _Item, found: VideoFacts) -> list[Timed[int]]:
    """Returns each shown frame's index and time, in presentation order; empty if two share a time."""
    times = packet_times(item.path, found)
    if len({pts_ns for pts_ns, _ in times}) != len(times):
        return []
    return [Timed(pts_ns, duration_ns, index) for index, (pts_ns, duration_ns) in enumerate(times)]


def _decord_plan(item: _Item, times: list[Timed[int]], native_fps: float | None) -> list[int]:
    """Returns the indices of the frames that sampling will take, computed before any is decoded."""
    samples = sample(times, span_ns=item.span_ns, fps=item.sampling.fps, native_fps=native_fps)
    indices: dict[int, None] = {}
    for taken in samples:
        if isinstance(taken, Sample):
            indices[taken.frame] = None
            if len(indices) > item.limits.max_frames:
                break
    return list(indices)


def _by_decord(item: _Item, found: VideoFacts, native_fps: float | None) -> Iterator[ItemEvent] | None:
    """Returns the item's events, or None if decord must not read it or fails: then PyAV reads all of it."""
    times = _decord_times(item, found)
    indices = _decord_plan(item, times, native_fps)
    height, width = found.height, found.width
    size = item.sizes.size_of(width, height, found.aspect)
    held_bytes = len(indices) * size[0] * size[1] * 3
    is_chosen = indices and choose(found, prefer="decord", held_bytes=held_bytes) == "decord"
    if not is_chosen or not _is_sound(item, found, times, indices):
        return None
    try:
        pictures = decord_reader.read_frames(
            item.path,
            indices,
            num_frames=found.num_shown,
            height_width=(height, width),
            keep=lambda pixels: fit(pixels, size, found.aspect),
        )
    except BadItemError:
        return None
    item.facts = replace(item.facts, decoder="decord")
    crop = centre_crop(width, height, found.aspect, size)
    fitted = {
        index: FittedFrame(pixels, height, width, crop)
        for index, pixels in zip(indices, pictures, strict=True)
    }
    return _timeline(item, times, fitted.__getitem__, native_fps=native_fps)


def _is_sound(item: _Item, found: VideoFacts, times: list[Timed[int]], indices: list[int]) -> bool:
    """Returns whether PyAV decodes every frame of the span intact: decord conceals damage silently."""
    stop_ns, limited = item.span_ns[1], len(indices) > item.limits.max_frames
    at: int | None = None
    try:
        for frame in _by_pyav(item, found):
            if at is None:
                at = bisect_left(times, frame.pts_ns, hi=indices[0], key=lambda time: time.pts_ns)
            else:
                at += 1
            if at == len(times) or times[at].pts_ns != frame.pts_ns:
                return False
            if (stop_ns is not None and frame.pts_ns >= stop_ns) or (limited and at == indices[-1]):
                return True
    except BadItemError:
        return False
    return at == len(times) - 1


def _video_facts(found: VideoFacts) -> MediaFacts:
    height, width = found.shown_height_width
    known = found.start_ns is not None and found.end_ns is not None
    duration_ns = (found.end_ns or 0) - (found.start_ns or 0) if known else None
    fps = found.average_fps
    if not fps and duration_ns:
        fps = found.num_shown * 1e9 / duration_ns
    return MediaFacts(
        media="video",
        container=found.container,
        codec=found.codec,
        decoder="pyav",
        height=height,
        width=width,
        duration_ns=duration_ns,
        fps=fps or None,
    )


def check_span(span_ns: Span, first_ns: int | None, end_ns: int | None) -> None:
    """Raises BadItemError(SPAN_OUTSIDE) if the span is empty or outside the media, [first_ns, end_ns)."""
    start_ns, stop_ns = span_ns
    if start_ns is not None and stop_ns is not None and start_ns >= stop_ns:
        raise BadItemError(Reason.SPAN_OUTSIDE, "The manifest's end is not after its start.")
    late = start_ns is not None and end_ns is not None and start_ns >= end_ns
    early = stop_ns is not None and first_ns is not None and stop_ns <= first_ns
    if late or early:
        shown = f"{(first_ns or 0) / 1e9:.3f} to {(end_ns or 0) / 1e9:.3f}"
        raise BadItemError(Reason.SPAN_OUTSIDE, f"The media lasts from {shown} seconds, outside the span.")


def _timeline(
    item: _Item,
    frames: Iterable[Timed[FrameT]],
    draw: Callable[[FrameT], FittedFrame],
    *,
    native_fps: float | None,
    lost: Callable[[], BadItemError | None] = lambda: None,
) -> Iterator[ItemEvent]:
    """Yields the clips of a timeline, sampled, cut and resized, then its end event.

    ``lost`` returns, once the frames are read, why some are missing before the first one, or None.
    """
    counted = _counted(item, frames)
    done = yield from assemble(
        sample(counted, span_ns=item.span_ns, fps=item.sampling.fps, native_fps=native_fps),
        draw,
        sampling=item.sampling,
        drop_to=item.drop_to,
        max_frames=item.limits.max_frames,
        native_fps=native_fps,
    )
    item.num_dropped_frames = done.num_dropped
    if item.facts.duration_ns is None and done.timeline and done.timeline.fault is None:
        item.facts = replace(item.facts, duration_ns=done.timeline.media_end_ns)
    # It may change the facts.
    missing = lost()
    yield item.end(_judge(item, done, missing))


def _counted(item: _Item, frames: Iterable[Timed[FrameT]]) -> Iterator[Timed[FrameT]]:
    for frame in frames:
        item.num_source_frames += 1
        yield frame


def _judge(item: _Item, done: Assembled, lost: BadItemError | None) -> Failing | None:
    """Returns the most severe fault of a timeline, or None."""
    timeline = done.timeline
    if timeline is None:
        return Reason.TOO_MANY_FRAMES, f"Only the first {item.limits.max_frames} sampled frames were taken."
    fault = timeline.fault or lost
    if fault is not None:
        return fault.reason, fault.detail
    if not timeline.num_frames:
        return Reason.NO_FRAMES, "The video stream yields no frame."
    outside = _past_the_end(item.span_ns, timeline)
    if outside is not None or not done.num_samples:
        return Reason.SPAN_OUTSIDE, outside or "No frame is presented within the span."
    if not done.num_clips:
        shortest = 1 if item.drop_to is None else item.drop_to.least_frames
        least = max(item.sampling.min_frames, shortest)
        return Reason.TOO_SHORT, f"{done.num_samples} sampled frames, and the job asks for {least} at least."
    return None


def _past_the_end(span_ns: Span, timeline: TimelineEnd) -> str | None:
    stop_ns, media_end_ns = span_ns[1], timeline.media_end_ns
    if stop_ns is None or media_end_ns is None or stop_ns <= media_end_ns + timeline.frame_ns:
        return None
    return f"The media ends at {media_end_ns / 1e9:.3f} seconds, before the span's {stop_ns / 1e9:.3f}."
