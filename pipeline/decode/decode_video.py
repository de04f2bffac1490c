"""Decodes one video: by PyAV, whole or only what sampling needs, or by decord where that is sound."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from bitmill.pipeline.decode.clip_events import MediaItem, check_span, clip_events
from bitmill.pipeline.decode.pixels.crop import centre_crop
from bitmill.pipeline.decode.pixels.resize import fit
from bitmill.pipeline.decode.sampling.assemble import FittedFrame
from bitmill.pipeline.decode.sampling.timeline import Sample, Timed, sample
from bitmill.pipeline.decode.video import decord_reader, pyav_reader
from bitmill.pipeline.decode.video.choose_decoder import Preference, choose
from bitmill.pipeline.decode.video.probe import VideoFacts, packet_times, probe
from bitmill.pipeline.decode.video.probe_cache import probe_once
from bitmill.pipeline.decode.video.seeking.sought_frames import SoughtFrames, sought_frames
from bitmill.pipeline.items import ItemEvent, MediaFacts
from bitmill.schemas.errors import BadItemError


def video_events(item: MediaItem, prefer: Preference) -> Iterator[ItemEvent]:
    """Yield the item's clips, then its end event; raises BadItemError for a fault of the file."""
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
    draw = item.fitter.video_frame
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
    return clip_events(item, frames, draw, native_fps=native_fps, lost=lambda: frames.lost)


def _by_seeking(
    item: MediaItem,
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
    return clip_events(item, frames, draw_sampled, native_fps=native_fps, lost=lost)


def _by_pyav(item: MediaItem, found: VideoFacts) -> pyav_reader.Frames:
    return pyav_reader.Frames(item.path, found, span_ns=item.span_ns, max_pixels=item.limits.max_pixels)


def _decord_times(item: MediaItem, found: VideoFacts) -> list[Timed[int]]:
    """Returns each shown frame's index and time, in presentation order; empty if two share a time."""
    times = packet_times(item.path, found)
    if len({pts_ns for pts_ns, _ in times}) != len(times):
        return []
    return [Timed(pts_ns, duration_ns, index) for index, (pts_ns, duration_ns) in enumerate(times)]


def _decord_plan(item: MediaItem, times: list[Timed[int]], native_fps: float | None) -> list[int]:
    """Returns the indices of the frames that sampling will take, computed before any is decoded."""
    samples = sample(times, span_ns=item.span_ns, fps=item.sampling.fps, native_fps=native_fps)
    indices: dict[int, None] = {}
    for taken in samples:
        if isinstance(taken, Sample):
            indices[taken.frame] = None
            if len(indices) > item.limits.max_frames:
                break
    return list(indices)


def _by_decord(item: MediaItem, found: VideoFacts, native_fps: float | None) -> Iterator[ItemEvent] | None:
    """Returns the item's events, or None if decord must not read it or fails: then PyAV reads all of it."""
    times = _decord_times(item, found)
    indices = _decord_plan(item, times, native_fps)
    height, width = found.height, found.width
    size = item.fitter.sizes.size_of(width, height, found.aspect)
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
    return clip_events(item, times, fitted.__getitem__, native_fps=native_fps)


def _is_sound(item: MediaItem, found: VideoFacts, times: list[Timed[int]], indices: list[int]) -> bool:
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
