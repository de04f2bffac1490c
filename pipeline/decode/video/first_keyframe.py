"""Where a video begins: at a keyframe that decodes cleanly. Judges packets and frames, decodes nothing."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_WITHHOLDS = frozenset({"h264"})
"""Decoders that give no frame until they have recovered, however long that takes (intra refresh)."""

_SKIPS = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
"""Decoders that give a keyframe out at the next picture but for those that they skip: leading ones."""


class Sent(NamedTuple):
    """A packet that went to the decoder; whatever frame comes of it carries this as its ``opaque``."""

    number: int
    """In decoding order."""
    pts: int | None
    dts: int | None
    is_keyframe: bool
    """As the container says."""
    is_hidden: bool
    """Decoded but never shown."""


def sent_of(frame: VideoFrame) -> Sent | None:
    """The packet that a frame came of; null where its decoder does not tell."""
    return cast("Sent | None", frame.opaque)


class Beginning:
    """Tells the first frame to keep: what is shown before it rests on pictures that are damaged, or that are
    not there (a stream cut in mid-GOP).
    """

    def __init__(self, *, codec: str, has_keyframes: bool) -> None:
        """``has_keyframes``: the container marks some; where it marks none, any frame may be the first."""
        self._withholds, self._skips = codec in _WITHHOLDS, codec in _SKIPS
        self._has_keyframes = has_keyframes
        self._number = 0
        self._key: Sent | None = None
        self._newest_key: Sent | None = None
        self._met_keyframe = self._entered = False
        self.is_damaged = False
        """A keyframe, or a picture after one, was lost before the first frame that is kept."""

    def sent(self, packet: "Packet[VideoStream]") -> Sent:
        """Call before the packet is decoded, by a context with ``copy_opaque``."""
        sent = Sent(self._number, packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
        self._number += 1
        packet.opaque = sent
        if sent.is_keyframe:
            self._met_keyframe = True
            self._key, self._newest_key = self._key or sent, sent
        return sent

    def failed(self, sent: Sent, *, was_keyframe: bool) -> bool:
        """A packet did not decode, or not to a whole frame; false where nothing that is kept could miss it.

        What follows is then no good until the next keyframe: the caller resets the decoder. ``was_keyframe``:
        the container's index says so, whatever has become of the bytes.
        """
        if self._is_leading(sent):
            return False
        self._met_keyframe |= was_keyframe
        self.is_damaged |= self._met_keyframe
        self._key, self._entered = None, False
        return True

    def admits(self, frame: VideoFrame) -> bool:
        """Whether to keep a whole frame, told in presentation order."""
        self._entered = self._entered or self._may_be_first(frame)
        return self._entered

    def is_overtaken_by(self, frame: VideoFrame) -> bool:
        """Whether one that rests on the keyframe came out before it: it decoded, yet to no picture."""
        sent, key = sent_of(frame), self._key
        if self._entered or self._withholds or key is None or key.is_hidden or sent is None:
            return False
        return not frame.key_frame and self._follows(key, sent)

    def passed_over(self, sent: Sent, frames: Sequence[VideoFrame]) -> Sent | None:
        """The keyframe that a packet follows without being kept, though it has its place in time before it.

        ``frames``: what came of the packet, and is not kept.
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
        """Whether a picture is decoded and shown after a keyframe."""
        known = sent.pts is not None and key.pts is not None and sent.number > key.number
        return known and not self._is_leading(sent)

    def _is_leading(self, sent: Sent) -> bool:
        """Whether a picture is decoded, or shown (an open GOP), before the keyframe to begin at."""
        key = self._key
        if key is None or sent is key:
            return False
        if sent.number < key.number:
            return True
        shown_before = sent.pts is not None and key.pts is not None and sent.pts < key.pts
        return shown_before and self._newest_key is key
