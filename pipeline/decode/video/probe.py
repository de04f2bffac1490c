"""Probes a video file's packets and first picture for the facts by which a decoder is chosen."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
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
        stated = _Stated.by(stream.codec_context)
        first = _FirstPicture(path, stream)
        tally = _count(container, stream, first)
        return _facts(container, stream, stated, tally, first.frame)


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


@dataclass(frozen=True, kw_only=True)
class _Stated:
    """A stream's format by its headers; decoding changes it."""

    pix_fmt: str | None
    width: int
    height: int
    field_order: int
    colorspace: int
    color_range: int

    @staticmethod
    def by(context: VideoCodecContext) -> "_Stated":
        return _Stated(
            pix_fmt=context.pix_fmt,
            width=context.width,
            height=context.height,
            field_order=context.field_order,
            colorspace=int(context.colorspace),
            color_range=int(context.color_range),
        )


class _FirstPicture:
    """Decodes packets as they are counted, up to the first picture or error; the reader reports errors."""

    def __init__(self, path: str, stream: VideoStream) -> None:
        self._path, self._context = path, stream.codec_context
        self._context.thread_count = 1
        self._looking = True
        self.frame: VideoFrame | None = None

    def sought_in(self, packets: "Iterable[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
        """Yields all packets that have data; raises BadItemError(UNSUPPORTED_CODEC)."""
        for packet in packets:
            if self._looking:
                self._look(packet)
            if packet.size:
                yield packet

    def _look(self, packet: "Packet[VideoStream]") -> None:
        try:
            self.frame = next(iter(self._context.decode(packet)), None)
            self._looking = self.frame is None
        except FFmpegError as error:
            self.failed(error)

    def failed(self, error: FFmpegError) -> None:
        """Looks no further; raises BadItemError(UNSUPPORTED_CODEC) if that is why there is no picture."""
        if not self._looking:
            return
        self._looking = False
        fault = library_fault(error, self._path)
        if fault.reason is Reason.UNSUPPORTED_CODEC:
            raise fault from error


def _count(container: InputContainer, stream: VideoStream, first: _FirstPicture | None = None) -> _Tally:
    tally = _Tally()
    in_step = container.format.name == STEPPING
    packets = container.demux(stream)
    packets = first.sought_in(packets) if first else (packet for packet in packets if packet.size)
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
    except FFmpegError as error:
        # The reader will meet the same damage, after the frames before it.
        tally.last_is_corrupt = tally.cut_short = True
        if first:
            first.failed(error)
    return tally


def _facts(
    container: InputContainer,
    stream: VideoStream,
    stated: _Stated,
    tally: _Tally,
    frame: VideoFrame | None,
) -> VideoFacts:
    tick_ns = SECOND_NS * (stream.time_base or Fraction(1, SECOND_NS))
    name = container.format.name
    origin_ns = round((tally.first or 0) * tick_ns) if name in ARBITRARY_ORIGIN else 0
    shown = frame or stated
    return VideoFacts(
        container=name,
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=stated.pix_fmt,
        width=shown.width,
        height=shown.height,
        aspect=stream.sample_aspect_ratio or Fraction(1),
        orientation=orientation_of(frame) if frame else UPRIGHT,
        interlaced=stated.field_order > 1 or (frame is not None and frame.interlaced_frame),
        colorspace=int(shown.colorspace),
        color_range=int(shown.color_range),
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
        truncated=_is_truncated(container.name, name, stream, tally),
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
