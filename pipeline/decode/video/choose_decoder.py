"""Chooses the decoder of a video by the facts of its packets."""

from typing import Literal

from bitmill.pipeline.decode.pixels.orientation import UPRIGHT
from bitmill.pipeline.decode.video.probe import VideoFacts

Preference = Literal["auto", "pyav", "decord"]
VideoDecoder = Literal["pyav", "decord"]

_SAFE_CODECS = frozenset({"h264", "hevc", "vp9", "mpeg4"})
_SAFE_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_SAFE_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_HELD_BYTES = 256 << 20


def against_decord(facts: VideoFacts, *, held_bytes: int) -> str | None:
    """Returns why decord must not read this file, or None if it returns PyAV's pixels and times.

    Each check covers a case in which decord 0.6 hung, or returned other pixels or counts, without an
    error. ``held_bytes`` is the size of all the item's sampled frames, which decord reads in one pass.
    """
    checks = (
        (facts.codec not in _SAFE_CODECS, f"the codec is {facts.codec}"),
        (facts.container not in _SAFE_CONTAINERS, f"the container is {facts.container}"),
        (facts.pix_fmt not in _SAFE_PIXELS, f"pixels are {facts.pix_fmt}, not 8-bit 4:2:0"),
        (facts.interlaced, "pictures are interlaced: decord's chroma differs"),
        (facts.num_discard > 0, f"an edit list hides {facts.num_discard} packets; decord fails"),
        (facts.truncated, "the file is cut off: decord fails on all of it"),
        (facts.num_missing_pts > 0, "packets lack presentation times"),
        (not facts.num_shown, "there are no packets"),
        (
            facts.declared_frames not in (0, facts.num_shown),
            f"the header counts {facts.declared_frames} frames, the packets {facts.num_shown}",
        ),
        (min(facts.width, facts.height) < 16, "the picture is tiny: decord returns arrays of a wrong shape"),
        (facts.width % 2 == 1 or facts.height % 2 == 1, "width or height is odd"),
        (facts.orientation != UPRIGHT, "the display matrix rotates or mirrors"),
        (held_bytes > _HELD_BYTES, "decord would hold too many frames in memory at once"),
    )
    return next((why for applies, why in checks if applies), None)


def choose(facts: VideoFacts, *, prefer: Preference, held_bytes: int) -> VideoDecoder:
    """Returns decord only if it is preferred and safe, else PyAV.

    ``auto`` is always PyAV: on one CPU it was never slower where both are correct (docs/decoding.md), it
    keeps the frames before damage, and it streams an item instead of keeping it in memory.
    """
    if prefer == "decord" and against_decord(facts, held_bytes=held_bytes) is None:
        return "decord"
    return "pyav"
