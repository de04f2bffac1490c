"""Finds where a video begins: at a keyframe that decodes cleanly. Inspects packets and frames only."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_WITHHOLDS = frozenset({"h264"})
"""Decoders that return no frame until they have recovered, however long that takes (intra refresh)."""

_SKIPS = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
"""Decoders that return a keyframe at the next picture, unless they skip that one (leading pictures)."""


class Sent(NamedTuple):
    """A packet sent to the decoder; the frames decoded from it carry this as their ``opaque``."""

    number: int
    """In decoding order."""
    pts: int | None
    dts: int | None
    is_keyframe: bool
    """According to the container."""
    is_hidden: bool
    """Decoded but never shown."""


def sent_of(frame: VideoFrame) -> Sent | None:
    """Returns the packet that a frame was decoded from; None if its decoder does not report it."""
    return cast("Sent | None", frame.opaque)


class Beginning:
    """Finds the first frame to keep: frames shown before it depend on pictures that are damaged or missing
    (a stream cut in mid-GOP).
    """

    def __init__(self, *, codec: str, has_keyframes: bool) -> None:
        """``has_keyframes``: whether the container marks any; if not, any frame may be the first."""
        self._withholds, self._skips = codec in _WITHHOLDS, codec in _SKIPS
        self._has_keyframes = has_keyframes
        self._number = 0
        self._key: Sent | None = None
        self._newest_key: Sent | None = None
        self._met_keyframe = self._entered = False
        self.is_damaged = False
        """Whether a keyframe, or a picture after one, was lost before the first kept frame."""

    def sent(self, packet: "Packet[VideoStream]") -> Sent:
        """Call before the packet is decoded, with a codec context that has ``copy_opaque`` set."""
        sent = Sent(self._number, packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
        self._number += 1
        packet.opaque = sent
        if sent.is_keyframe:
            self._met_keyframe = True
            self._key, self._newest_key = self._key or sent, sent
        return sent

    def failed(self, sent: Sent, *, was_keyframe: bool) -> bool:
        """Record that a packet gave no intact frame; returns False if no kept frame depends on it.

        If True, frames are unusable until the next keyframe: the caller resets the decoder. ``was_keyframe``:
        whether the container's index marks the packet as one, even if its bytes no longer look like one.
        """
        if self._is_leading(sent):
            return False
        self._met_keyframe |= was_keyframe
        self.is_damaged |= self._met_keyframe
        self._key, self._entered = None, False
        return True

    def admits(self, frame: VideoFrame) -> bool:
        """Returns whether to keep an intact frame; call in presentation order."""
        self._entered = self._entered or self._may_be_first(frame)
        return self._entered

    def is_overtaken_by(self, frame: VideoFrame) -> bool:
        """Returns whether a dependent frame came out before its keyframe, which then gave no picture."""
        sent, key = sent_of(frame), self._key
        if self._entered or self._withholds or key is None or key.is_hidden or sent is None:
            return False
        return not frame.key_frame and self._follows(key, sent)

    def passed_over(self, sent: Sent, frames: Sequence[VideoFrame]) -> Sent | None:
        """Returns the keyframe that a dropped packet follows in decoding order but precedes in time, or None.

        ``frames``: the dropped frames decoded from the packet.
        """
        key = self._key
        if self._entered or key is None or sent.number <= key.number or key.number == 0:
            return None
        came = any(of is not None and of.number >= key.number for of in map(sent_of, frames))
        return key if came or (self._skips and not frames) else None

    def _may_be_first(self, frame: VideoFrame) -> bool:
        sent, key = sent_of(frame), self._key
        if key is None:
            return self._withholds or frame.key_frame or not (self._has_keyframes or self._met_keyframe)
        if sent is None or sent is key or key.is_hidden:
            return True
        if frame.key_frame:
            self.is_damaged |= self._follows(key, sent)
        return frame.key_frame or self._withholds

    def _follows(self, key: Sent, sent: Sent) -> bool:
        """Returns whether a picture is decoded and shown after a keyframe."""
        known = sent.pts is not None and key.pts is not None and sent.number > key.number
        return known and not self._is_leading(sent)

    def _is_leading(self, sent: Sent) -> bool:
        """Returns whether a picture is decoded, or shown (open GOP), before the keyframe to begin at."""
        key = self._key
        if key is None or sent is key:
            return False
        if sent.number < key.number:
            return True
        shown_before = sent.pts is not None and key.pts is not None and sent.pts < key.pts
        return shown_before and self._newest_key is key
