"""Decodes a video with PyAV in presentation order, on one thread; converts colours on request."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.pixels.orientation import Orientation
from bitmill.pipeline.decode.pixels.planes import Planes, planes_of
from bitmill.pipeline.decode.sampling.timeline import (
    LONGEST_HOLD_NS,
    MOST_NS,
    SECOND_NS,
    TOLERANCE_NS,
    Span,
    Timed,
)
from bitmill.pipeline.decode.video.container import open_media, video_stream
from bitmill.pipeline.decode.video.display_matrix import orientation_of
from bitmill.pipeline.decode.video.probe import STEPPING, VideoFacts, check_pixels
from bitmill.pipeline.decode.video.timestamps import FrameClock
from bitmill.pipeline.decode.video.usable_frames import Beginning, Sent, sent_of
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

_SEEK_FROM_NS = 5 * SECOND_NS
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_TELLS_LATE = frozenset({"av1"})
"""Codecs whose damage may surface only in the next packet, which inherits the entropy coder's state."""


@dataclass(frozen=True, slots=True)
class PyavPicture:
    """A decoded frame in the codec's pixel format; valid while the reader is open."""

    frame: VideoFrame
    reformatter: VideoReformatter
    aspect: Fraction
    """Pixel aspect ratio before rotation."""
    codec: str

    @property
    def orientation(self) -> Orientation:
        """The orientation by the frame's display matrix."""
        return orientation_of(self.frame)

    def rgb(self) -> tuple[npt.NDArray[np.uint8], Fraction]:
        """Returns (upright RGB [H, W, 3], its pixel aspect ratio), by the stream's matrix and range.

        Untagged streams count as BT.601 limited range, FFmpeg's default. Raises BadItemError.
        """
        with self._converting():
            native = self.reformatter.reformat(self.frame, format="rgb24", threads=1)
        orientation = self.orientation
        picture = orientation.apply(np.asarray(native.to_ndarray(), np.uint8))
        return picture, 1 / self.aspect if orientation.transpose else self.aspect

    def planes(self) -> Planes:
        """Returns the frame's planes as they are in memory, not rotated. Raises BadItemError."""
        with self._converting():
            return planes_of(self.frame, self.reformatter, codec=self.codec)

    @contextmanager
    def _converting(self) -> Generator[None]:
        try:
            yield
        except FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            detail = f"Pictures in the format {self.frame.format.name} cannot be converted to RGB."
            raise BadItemError(Reason.UNSUPPORTED_CODEC, detail) from error


class Frames:
    """Iterates over frames, strictly increasing in time, from the one shown at the span's start (or earlier).

    Raises BadItemError at the first damage, after the intact frames before it, and at the end of a file that
    is cut off or that had frames out of order.
    """

    def __init__(self, path: str, facts: VideoFacts, *, span_ns: Span, max_pixels: int) -> None:
        self._path, self._facts, self._max_pixels = path, facts, max_pixels
        self._start_ns = span_ns[0]
        self.lost: BadItemError | None = None
        """Why frames of the span before the first yielded one are missing; set when that is yielded."""

    def __iter__(self) -> Iterator[Timed[PyavPicture]]:
        for seek_ns in self._places():
            with closing(_Reading(self._path, self._facts, self._max_pixels)) as reading:
                frames = reading.frames(seek_ns=seek_ns)
                first = next(frames, None)
                if seek_ns is not None and (first is None or self._begins_after(first)):
                    continue
                if first is None:
                    return
                if self._start_ns is None or self._start_ns < first.pts_ns:
                    self.lost = reading.lost_beginning()
                yield first
                yield from frames
                return

    def _places(self) -> tuple[int | None, ...]:
        """Returns the times to try to seek to; None is the file's beginning, for when seeking fails."""
        if self._start_ns is None or not _may_seek(self._facts, self._start_ns):
            return (None,)
        return (self._start_ns - TOLERANCE_NS, None)

    def _begins_after(self, first: Timed[PyavPicture]) -> bool:
        return self._start_ns is not None and first.pts_ns > self._start_ns


def _may_seek(facts: VideoFacts, start_ns: int) -> bool:
    """Returns whether to seek: only far into files whose packets all have times and are all shown."""
    deep = facts.start_ns is not None and start_ns - facts.start_ns > _SEEK_FROM_NS
    orderly = not facts.num_discard and not facts.num_missing_pts and not facts.truncated
    return deep and orderly and facts.num_keyframes > 1 and facts.container in _SEEKABLE


def open_decoder(path: str) -> tuple[InputContainer, VideoStream]:
    """Open a file and its video stream, to be decoded on one thread, with errors for damage."""
    container = open_media(path)
    stream = video_stream(container)
    context = stream.codec_context
    context.thread_count = 1
    # By default FFmpeg conceals damage with neighbouring frames and reports no error.
    context.options = {**context.options, "err_detect": "explode+crccheck"}
    return container, stream


class _Reading:
    """One pass over a file."""

    def __init__(self, path: str, facts: VideoFacts, max_pixels: int) -> None:
        self._path, self._facts, self._max_pixels = path, facts, max_pixels
        self._container, self._stream = open_decoder(path)
        self._stream.codec_context.copy_opaque = True
        self._reformatter = VideoReformatter()
        rate = self._stream.average_rate or Fraction(25)
        tick_s = self._stream.time_base or Fraction(1, SECOND_NS)
        in_step = facts.container == STEPPING
        self._clock = FrameClock(in_step=in_step, step_ticks=round(1 / (rate * tick_s)))
        self._beginning = Beginning(codec=facts.codec, has_keyframes=facts.num_keyframes > 0)
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._out_of_order = 0

    def close(self) -> None:
        """Free the decoder's memory now, not at a later garbage collection."""
        self._container.close()

    def frames(self, *, seek_ns: int | None) -> Iterator[Timed[PyavPicture]]:
        """Yields frames as ``Frames`` does, from the keyframe before ``seek_ns`` if given."""
        if seek_ns is not None:
            tick_ns = SECOND_NS * (self._stream.time_base or Fraction(1, SECOND_NS))
            self._container.seek((seek_ns + self._facts.origin_ns) // tick_ns, stream=self._stream)
        for frame in self._decoded():
            timed = self._timed(frame)
            if timed is not None:
                yield timed
        if self._facts.num_behind:
            raise BadItemError(Reason.BAD_TIMESTAMPS, self._restart())
        if self._facts.truncated:
            raise BadItemError(Reason.TRUNCATED, self._shortfall())
        if self._out_of_order:
            detail = f"{self._out_of_order} frames with decreasing presentation times were skipped."
            raise BadItemError(Reason.CORRUPT, detail)

    def lost_beginning(self) -> BadItemError | None:
        """Returns the damage before the first frame; None if the stream merely began in mid-GOP."""
        if self._first_ns is None or not self._beginning.is_damaged:
            return None
        at = f"before {self._first_ns / 1e9:.3f} seconds"
        detail = f"The data is damaged {at}; the frames up to there depend on data that does not decode."
        return BadItemError(Reason.CORRUPT, detail)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Yields frames that depend on a cleanly decoded keyframe, up to the first damage after one."""
        begun, damage, held = False, None, list[VideoFrame]()
        for packet in self._packets():
            frames, failure = self._frames_of(packet)
            if self._facts.codec in _TELLS_LATE:
                frames, held = held, frames
                if failure is not None and failure.reason is Reason.CORRUPT:
                    frames = []
            for frame in frames:
                begun = True
                yield frame
            if failure is None:
                continue
            damage = failure
            if begun or failure.reason not in (Reason.CORRUPT, Reason.TRUNCATED):
                raise failure
        for frame in held:
            begun = True
            yield frame
        if not begun and damage is not None:
            raise damage

    def _frames_of(self, packet: "Packet[VideoStream]") -> tuple[list[VideoFrame], BadItemError | None]:
        """Returns (frames to keep from a packet, the fault of the packet or of the next frame, or None)."""
        sent = self._beginning.sent(packet)
        self._clock.sent(packet)
        kept: list[VideoFrame] = []
        try:
            frames = packet.decode()
        except FFmpegError as error:
            self._clock.refused(packet)
            return kept, self._failure(sent, error)
        for frame in frames:
            if frame.is_corrupt or self._beginning.is_overtaken_by(frame):
                return kept, self._failure(sent_of(frame) or sent, None)
            if self._beginning.admits(frame):
                kept.append(frame)
        key = None if kept else self._beginning.passed_over(sent, frames)
        if key is not None:
            self._clock.pass_over(key.dts)
        return kept, None

    def _failure(self, sent: Sent, error: FFmpegError | None) -> BadItemError | None:
        damage = self._damaged(error)
        of_the_file = damage.reason in (Reason.CORRUPT, Reason.TRUNCATED)
        if of_the_file and not self._beginning.failed(sent, was_keyframe=self._is_indexed_keyframe(sent)):
            return None
        # The decoder must drop the failed picture, or it would predict from its remains.
        self._stream.codec_context.flush_buffers()
        self._clock.forget()
        return damage

    def _is_indexed_keyframe(self, sent: Sent) -> bool:
        """Looks up a packet in the index: FFmpeg unflags one that no longer looks like a keyframe."""
        entries, time = self._stream.index_entries, sent.pts if sent.dts is None else sent.dts
        at = -1 if time is None else entries.search_timestamp(time, any_frame=True)
        return at >= 0 and entries[at].is_keyframe and entries[at].timestamp == time

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Yields packets up to the first clock restart, then the empty packet that flushes the decoder."""
        packets, left = self._container.demux(self._stream), self._facts.num_packets
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                raise self._damaged(error) from error
            if packet is None:
                return
            if packet.size and self._facts.num_behind:
                left -= 1
            if left >= 0 or not packet.size:
                yield packet

    def _timed(self, frame: VideoFrame) -> Timed[PyavPicture] | None:
        check_pixels(frame.width, frame.height, self._max_pixels)
        sent = sent_of(frame)
        if self._first_ns is None and sent is not None:
            self._clock.begin(sent.dts)
        ticks = self._clock.time_of(frame)
        if ticks is None or frame.time_base is None:
            raise BadItemError(Reason.BAD_TIMESTAMPS, "A frame has no presentation time.")
        tick_ns = SECOND_NS * frame.time_base
        pts_ns = round(ticks * tick_ns) - self._facts.origin_ns
        if abs(pts_ns) > MOST_NS - LONGEST_HOLD_NS:
            detail = (
                f"A frame has a presentation time of {pts_ns // SECOND_NS} seconds, which cannot be stored."
            )
            raise BadItemError(Reason.BAD_TIMESTAMPS, detail)
        if self._last_ns is not None and pts_ns <= self._last_ns:
            self._out_of_order += 1
            return None
        if self._first_ns is None:
            self._first_ns = pts_ns
        self._last_ns = pts_ns
        duration_ns = round(frame.duration * tick_ns) if frame.duration > 0 else None
        picture = PyavPicture(frame, self._reformatter, self._facts.aspect, self._facts.codec)
        return Timed(pts_ns, duration_ns, picture)

    def _damaged(self, error: FFmpegError | None) -> BadItemError:
        if self._facts.truncated:
            return BadItemError(Reason.TRUNCATED, self._shortfall())
        if error is not None and not isinstance(error, InvalidDataError):
            return library_fault(error, self._path)
        at = "at the first frame" if self._last_ns is None else f"after {self._last_ns / 1e9:.3f} seconds"
        return BadItemError(Reason.CORRUPT, f"The data is damaged {at} and cannot be decoded.")

    def _restart(self) -> str:
        shown, behind = self._facts.num_shown, self._facts.num_behind
        at = f" at {self._facts.end_ns / 1e9:.3f} seconds" if self._facts.end_ns is not None else ""
        frames = f"only the first {shown} of {shown + behind} frames were read"
        return f"The timestamps restart{at}: {frames}."

    def _shortfall(self) -> str:
        told, found = self._facts.declared_frames, self._facts.num_shown
        if told > found:
            return f"The file ends after {found} of the {told} frames that its header declares."
        return "The file ends before its last frame is complete."
