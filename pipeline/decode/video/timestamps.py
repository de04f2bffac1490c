"""When a decoded frame is shown, also where its container or encoder did not write that down."""

import heapq

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


class FrameClock:
    """Presentation ticks of a stream's frames, told one by one in presentation order."""

    def __init__(self, *, in_step: bool, step_ticks: int) -> None:
        """``in_step``: the container (AVI) stores decoding times only, and FFmpeg's guesses from them run
        backwards where frames are reordered; so the n-th frame gets the n-th smallest packet time.
        ``step_ticks`` is a frame's usual duration.
        """
        self._in_step, self._step_ticks = in_step, max(step_ticks, 1)
        self._waiting: list[int] = []
        self._last: int | None = None

    def sent(self, packet: "Packet[VideoStream]") -> None:
        """A packet went to the decoder."""
        if self._in_step and packet.size and packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)

    def refused(self, packet: "Packet[VideoStream]") -> None:
        """The decoder could not read the packet: no frame will ask for its time."""
        if packet.dts in self._waiting:
            self._waiting.remove(packet.dts)
            heapq.heapify(self._waiting)

    def forget(self) -> None:
        """The decoder was reset: no frame will ask for the time of a packet sent before."""
        self._waiting.clear()

    def begin(self, dts: int | None) -> None:
        """The first frame to be timed came of the packet of that time: earlier ones gave none."""
        while dts is not None and self._waiting and self._waiting[0] < dts:
            heapq.heappop(self._waiting)

    def pass_over(self, key_dts: int | None) -> None:
        """A picture that is shown before the keyframe of that time, and decoded after it, is not kept."""
        self.begin(key_dts)
        if self._waiting:
            heapq.heappop(self._waiting)

    def time_of(self, frame: VideoFrame) -> int | None:
        """Ticks of the frame's time base; null where neither it nor a frame before it has a time.

        A frame without one follows its forerunner by that one's duration.
        """
        if self._in_step:
            return heapq.heappop(self._waiting) if self._waiting else None
        if frame.pts is not None:
            self._last = frame.pts
        elif self._last is not None:
            self._last += frame.duration or self._step_ticks
        return self._last
