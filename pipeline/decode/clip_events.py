"""Makes the frames of one media file clips and one end event, whose reason is the most severe fault."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from bitmill.pipeline.decode.pixel_rules import FrameFitter
from bitmill.pipeline.decode.sampling.assemble import Assembled, FittedFrame, assemble
from bitmill.pipeline.decode.sampling.timeline import MOST_NS, FrameT, Span, Timed, TimelineEnd, sample
from bitmill.pipeline.items import ItemEnd, ItemEvent, MediaFacts
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec

Failing = tuple[Reason, str]


@dataclass
class MediaItem:
    """What is asked of one media file, and what is known of it so far."""

    path: str
    span_ns: Span
    sampling: SamplingSpec
    limits: LimitsSpec
    fitter: FrameFitter
    drop_to: Geometry | None
    facts: MediaFacts = field(default_factory=MediaFacts)
    num_source_frames: int = 0
    num_dropped_frames: int = 0

    def end(self, failing: Failing | None = None) -> ItemEnd:
        """Return the end event."""
        reason, detail = failing or (None, None)
        is_storable = self.facts.duration_ns is None or self.facts.duration_ns <= MOST_NS
        return ItemEnd(
            facts=self.facts if is_storable else replace(self.facts, duration_ns=None),
            reason=reason,
            detail=detail,
            num_source_frames=self.num_source_frames,
            num_dropped_frames=self.num_dropped_frames,
        )


def clip_events(
    item: MediaItem,
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


def _counted(item: MediaItem, frames: Iterable[Timed[FrameT]]) -> Iterator[Timed[FrameT]]:
    for frame in frames:
        item.num_source_frames += 1
        yield frame


def _judge(item: MediaItem, done: Assembled, lost: BadItemError | None) -> Failing | None:
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
