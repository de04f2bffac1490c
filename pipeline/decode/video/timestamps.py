"""Computes when a decoded frame is shown, also if its container or encoder stored no time."""

import heapq

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


class FrameClock:
    """Computes the presentation ticks of a stream's frames, one by one in presentation order."""

    def __init__(self, *, in_step: bool, step_ticks: int) -> None:
        """``in_step``: the container (AVI) stores decoding times only, and FFmpeg's guesses from them run
        backwards if frames are reordered; so the n-th frame gets the n-th smallest packet time.
        ``step_ticks`` is a frame's usual duration.
        """
        self._in_step, self._step_ticks = in_step, max(step_ticks, 1)
        self._waiting: list[int] = []
        self._last: int | None = None

    def sent(self, packet: "Packet[VideoStream]") -> None:
        """Record that a packet was sent to the decoder."""
        if self._in_step and packet.size and packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)

    def refused(self, packet: "Packet[VideoStream]") -> None:
        """Record that the packet did not decode: no frame will use its time."""
        if packet.dts in self._waiting:
            self._waiting.remove(packet.dts)
            heapq.heapify(self._waiting)

    def forget(self) -> None:
        """Record that the decoder was reset: no frame will use the times of packets sent before."""
        self._waiting.clear()

    def begin(self, dts: int | None) -> None:
        """Drop the times of packets before ``dts``, that of the first frame to be timed."""
        while dts is not None and self._waiting and self._waiting[0] < dts:
            heapq.heappop(self._waiting)

    def pass_over(self, key_dts: int | None) -> None:
        """Drop the time of a discarded picture, decoded after the keyframe of ``key_dts``, shown before."""
        self.begin(key_dts)
        if self._waiting:
            heapq.heappop(self._waiting)

    def time_of(self, frame: VideoFrame) -> int | None:
        """Returns ticks of the frame's time base; None if neither it nor an earlier frame has a time.

        A frame without a time follows its predecessor by the duration.
        """
        if self._in_step:
            return heapq.heappop(self._waiting) if self._waiting else None
        if frame.pts is not None:
            self._last = frame.pts
        elif self._last is not None:
            self._last += frame.duration or self._step_ticks
        return self._last
