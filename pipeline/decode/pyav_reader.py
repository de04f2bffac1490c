"""Frames of a video in presentation order by PyAV, on one thread; colours are converted only when asked."""

from collections.abc import Iterator
from contextlib import closing
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

from bitmill.pipeline.decode.container import library_fault, open_media, video_stream
from bitmill.pipeline.decode.probe import STEPPING, VideoFacts, check_pixels
from bitmill.pipeline.decode.sampling import SECOND_NS, TOLERANCE_NS, Span, Timed
from bitmill.pipeline.decode.side_data import orientation_of
from bitmill.pipeline.decode.timestamps import FrameClock
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

_SEEK_FROM_NS = 5 * SECOND_NS
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True, slots=True)
class PyavPicture:
    """A decoded frame, still in the codec's own colours; valid while the reader is open."""

    frame: VideoFrame
    reformatter: VideoReformatter
    aspect: Fraction

    def rgb(self) -> tuple[npt.NDArray[np.uint8], Fraction]:
        """(upright picture [H, W, 3], aspect of its pixels), by the stream's own matrix and range.

        Untagged streams count as BT.601 limited range, as FFmpeg's default has it. Raises BadItemError.
        """
        try:
            native = self.reformatter.reformat(self.frame, format="rgb24", threads=1)
        except FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            detail = f"Pictures in the format {self.frame.format.name} cannot be turned into RGB here."
            raise BadItemError(Reason.UNSUPPORTED_CODEC, detail) from error
        orientation = orientation_of(self.frame)
        picture = orientation.apply(np.asarray(native.to_ndarray(), np.uint8))
        return picture, 1 / self.aspect if orientation.transpose else self.aspect


def read(path: str, facts: VideoFacts, *, span_ns: Span, max_pixels: int) -> Iterator[Timed[PyavPicture]]:
    """Frames strictly increasing in time, from the last one shown at the span's start (or earlier).

    Raises BadItemError at the first damage, after the good frames before it, and at the end of a file that
    is cut off or whose frames were partly out of order.
    """
    start_ns = span_ns[0]
    if start_ns is not None and _may_seek(facts, start_ns):
        with closing(_Reading(path, facts, max_pixels)) as reading:
            first = next(reading.frames(seek_ns=start_ns - TOLERANCE_NS), None)
        if first is None or first.pts_ns > start_ns:
            start_ns = None
    else:
        start_ns = None
    with closing(_Reading(path, facts, max_pixels)) as reading:
        yield from reading.frames(seek_ns=None if start_ns is None else start_ns - TOLERANCE_NS)


def _may_seek(facts: VideoFacts, start_ns: int) -> bool:
    """Only deep into files whose packets all have times and none of which an edit list hides."""
    deep = facts.start_ns is not None and start_ns - facts.start_ns > _SEEK_FROM_NS
    orderly = not facts.num_discard and not facts.num_missing_pts and not facts.truncated
    return deep and orderly and facts.num_keyframes > 1 and facts.container in _SEEKABLE


class _Reading:
    """One pass over a file."""

    def __init__(self, path: str, facts: VideoFacts, max_pixels: int) -> None:
        self._path, self._facts, self._max_pixels = path, facts, max_pixels
        self._container: InputContainer = open_media(path)
        self._stream: VideoStream = video_stream(self._container)
        context = self._stream.codec_context
        context.thread_count = 1
        # FFmpeg would paint over damage from neighbouring frames and call it a picture.
        context.options = {**context.options, "err_detect": "explode"}
        self._reformatter = VideoReformatter()
        rate = self._stream.average_rate or Fraction(25)
        tick_s = self._stream.time_base or Fraction(1, SECOND_NS)
        in_step = facts.container == STEPPING
        self._clock = FrameClock(in_step=in_step, step_ticks=round(1 / (rate * tick_s)))
        self._last_ns: int | None = None
        self._out_of_order = 0

    def close(self) -> None:
        """Free the decoder's memory now, not at some later collection."""
        self._container.close()

    def frames(self, *, seek_ns: int | None) -> Iterator[Timed[PyavPicture]]:
        """See ``read``."""
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
            detail = f"{self._out_of_order} frames whose times run backwards were left out."
            raise BadItemError(Reason.CORRUPT, detail)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Whole frames up to the first damage; damage before the first whole frame is skipped over."""
        begun, damage = False, None
        packets = self._packets()
        for packet in packets:
            try:
                self._clock.sent(packet)
                frames = packet.decode()
            except FFmpegError as error:
                self._clock.refused(packet)
                damage = self._damaged(error)
                if begun or damage.reason is Reason.UNSUPPORTED_CODEC:
                    raise damage from error
                continue
            for frame in frames:
                if not frame.is_corrupt:
                    begun = True
                    yield frame
                elif begun:
                    raise self._damaged(None)
                else:
                    self._clock.time_of(frame)
        if not begun and damage is not None:
            raise damage

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Up to where the clock starts anew, and the empty one that ends them."""
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
        ticks = self._clock.time_of(frame)
        if ticks is None or frame.time_base is None:
            raise BadItemError(Reason.BAD_TIMESTAMPS, "A frame has no presentation time.")
        tick_ns = SECOND_NS * frame.time_base
        pts_ns = round(ticks * tick_ns) - self._facts.origin_ns
        if self._last_ns is not None and pts_ns <= self._last_ns:
            self._out_of_order += 1
            return None
        self._last_ns = pts_ns
        duration_ns = round(frame.duration * tick_ns) if frame.duration > 0 else None
        return Timed(pts_ns, duration_ns, PyavPicture(frame, self._reformatter, self._facts.aspect))

    def _damaged(self, error: FFmpegError | None) -> BadItemError:
        if self._facts.truncated:
            return BadItemError(Reason.TRUNCATED, self._shortfall())
        if error is not None and not isinstance(error, InvalidDataError):
            return library_fault(error, self._path)
        at = "at the first frame" if self._last_ns is None else f"after {self._last_ns / 1e9:.3f} seconds"
        return BadItemError(Reason.CORRUPT, f"The bytes are damaged {at} and do not decode.")

    def _restart(self) -> str:
        shown, behind = self._facts.num_shown, self._facts.num_behind
        at = f" at {self._facts.end_ns / 1e9:.3f} seconds" if self._facts.end_ns is not None else ""
        frames = f"of {shown + behind} frames the first {shown} were read, not the rest"
        return f"The clock starts anew{at}: {frames}."

    def _shortfall(self) -> str:
        told, found = self._facts.declared_frames, self._facts.num_shown
        if told > found:
            return f"The file ends after {found} of the {told} frames that its header tells of."
        return "The file ends before its last frame is complete."
