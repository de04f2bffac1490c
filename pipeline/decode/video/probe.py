"""Probes a video file's packets and first picture for the facts by which a decoder is chosen."""

from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation
from bitmill.pipeline.decode.sampling.timeline import SECOND_NS
from bitmill.pipeline.decode.video.clock_restarts import of_first_clock
from bitmill.pipeline.decode.video.container import open_media, video_stream
from bitmill.pipeline.decode.video.display_matrix import orientation_of
from bitmill.pipeline.decode.video.truncation import matroska_is_cut, riff_is_cut
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

ARBITRARY_ORIGIN = ("mpegts", "mpeg")
"""Broadcast containers, whose clock starts anywhere: their times count from the first frame."""
STEPPING = "avi"
"""Stores no presentation times: frames are shown at the packets' decoding times, in order."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """Facts from a video stream's packets and first picture; times in ns of the source's clock."""

    container: str
    codec: str
    pix_fmt: str | None
    width: int
    height: int
    """Coded pixels, before rotation."""
    aspect: Fraction
    """Pixel width over pixel height; 1 if unspecified."""
    orientation: Orientation
    interlaced: bool
    colorspace: int
    color_range: int
    average_fps: float | None
    declared_frames: int
    """According to the container's header; 0 if unspecified."""
    num_packets: int
    num_discard: int
    """Packets that are decoded but never shown: pre-roll before an edit."""
    num_keyframes: int
    num_missing_pts: int
    start_ns: int | None
    end_ns: int | None
    """First and last presented instant of the shown packets."""
    origin_ns: int
    """Subtracted from the container's times."""
    truncated: bool
    """The file ends before the media that its header promises."""
    num_behind: int = 0
    """Packets after a broadcast stream's clock restarts; not included in the other counts."""
    cut_short: bool = False
    """An error ended the count of packets."""

    @property
    def num_shown(self) -> int:
        """The number of packets whose pictures are shown."""
        return self.num_packets - self.num_discard

    @property
    def shown_height_width(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        return (self.width, self.height) if self.orientation.transpose else (self.height, self.width)

    @property
    def shown_aspect(self) -> Fraction:
        """Pixel width over pixel height after rotation."""
        return 1 / self.aspect if self.orientation.transpose else self.aspect


@dataclass
class _Tally:
    packets: int = 0
    discard: int = 0
    keyframes: int = 0
    missing_pts: int = 0
    behind: int = 0
    first: int | None = None
    last: int | None = None
    end: int | None = None
    last_is_corrupt: bool = False
    cut_short: bool = False

    def note_time(self, time: int | None, duration: int) -> None:
        if time is None:
            self.missing_pts += 1
            return
        self.first = time if self.first is None else min(self.first, time)
        if self.last is None or time >= self.last:
            self.last, self.end = time, time + duration


def probe(path: str, *, max_pixels: int) -> VideoFacts:
    """Probe a video in constant memory: packets are counted, not kept.

    Raises BadItemError: what ``open_media`` and ``video_stream`` raise, TOO_MANY_PIXELS, NO_FRAMES.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        check_pixels(stream.width, stream.height, max_pixels)
        tally = _count(container, stream)
        return _facts(path, container, stream, tally, _first_frame(path))


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises BadItemError(TOO_MANY_PIXELS) if a picture has more than ``max_pixels``."""
    if width * height > max_pixels:
        detail = f"A picture measures {width}×{height} pixels; the job's limit is {max_pixels} pixels."
        raise BadItemError(Reason.TOO_MANY_PIXELS, detail)


def packet_times(path: str, facts: VideoFacts) -> list[tuple[int, int | None]]:
    """Returns (pts_ns, duration_ns) of shown packets in presentation order; empty if one has no time."""
    with open_media(path) as container:
        stream = video_stream(container)
        tick_ns = SECOND_NS * (stream.time_base or Fraction(1, SECOND_NS))
        times: list[tuple[int, int | None]] = []
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                return []
            duration_ns = round(packet.duration * tick_ns) if packet.duration else None
            times.append((round(packet.pts * tick_ns) - facts.origin_ns, duration_ns))
    return sorted(times, key=lambda time: time[0])


def _count(container: InputContainer, stream: VideoStream) -> _Tally:
    tally = _Tally()
    in_step = container.format.name == STEPPING
    packets = (packet for packet in container.demux(stream) if packet.size)
    restarts = container.format.name in ARBITRARY_ORIGIN
    try:
        for packet, counts in of_first_clock(packets) if restarts else ((packet, True) for packet in packets):
            tally.last_is_corrupt = packet.is_corrupt
            if not counts:
                tally.behind += 1
                continue
            tally.packets += 1
            tally.keyframes += packet.is_keyframe
            if packet.is_discard:
                tally.discard += 1
            else:
                tally.note_time(packet.dts if in_step else packet.pts, packet.duration or 0)
    except FFmpegError:
        # The reader will meet the same damage, after the frames before it.
        tally.last_is_corrupt = tally.cut_short = True
    return tally


def _first_frame(path: str) -> VideoFrame | None:
    """Returns the first picture that decodes, or None; the reader reports what is wrong with the file."""
    try:
        with open_media(path) as container:
            stream = video_stream(container)
            stream.codec_context.thread_count = 1
            return next(container.decode(stream), None)
    except FFmpegError as error:
        fault = library_fault(error, path)
        if fault.reason is Reason.UNSUPPORTED_CODEC:
            raise fault from error
        return None


def _facts(
    path: str, container: InputContainer, stream: VideoStream, tally: _Tally, frame: VideoFrame | None
) -> VideoFacts:
    tick_ns = SECOND_NS * (stream.time_base or Fraction(1, SECOND_NS))
    name = container.format.name
    origin_ns = round((tally.first or 0) * tick_ns) if name in ARBITRARY_ORIGIN else 0
    context = stream.codec_context
    return VideoFacts(
        container=name,
        codec=context.codec.canonical_name,
        pix_fmt=stream.pix_fmt,
        width=frame.width if frame else stream.width,
        height=frame.height if frame else stream.height,
        aspect=stream.sample_aspect_ratio or Fraction(1),
        orientation=orientation_of(frame) if frame else UPRIGHT,
        interlaced=context.field_order > 1 or (frame is not None and frame.interlaced_frame),
        colorspace=int(frame.colorspace if frame else context.colorspace),
        color_range=int(frame.color_range if frame else context.color_range),
        average_fps=float(stream.average_rate) if stream.average_rate else None,
        declared_frames=stream.frames,
        num_packets=tally.packets,
        num_discard=tally.discard,
        num_keyframes=tally.keyframes,
        num_missing_pts=tally.missing_pts,
        num_behind=tally.behind,
        cut_short=tally.cut_short,
        start_ns=None if tally.first is None else round(tally.first * tick_ns) - origin_ns,
        end_ns=None if tally.end is None else round(tally.end * tick_ns) - origin_ns,
        origin_ns=origin_ns,
        truncated=_is_truncated(path, name, stream, tally),
    )


def _is_truncated(path: str, container: str, stream: VideoStream, tally: _Tally) -> bool:
    if container.startswith("matroska"):
        return matroska_is_cut(path)
    # AVI writers also count empty chunks, so the header's frame count is unreliable.
    if container == STEPPING:
        return riff_is_cut(path)
    if tally.last_is_corrupt or tally.packets >= stream.frames:
        return tally.last_is_corrupt
    # FFmpeg leaves out packets that an edit list cuts off, which the header still counts.
    with open_media(path, ignore_editlist="1") as whole:
        return _count(whole, video_stream(whole)).packets < stream.frames
