"""The values that pass from decoding to the shard loop: clips of frames, then one end for each item."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from bitmill.schemas.outcomes import Outcome, Reason

Media = Literal["video", "image", "animation"]
Decoder = Literal["decord", "pyav", "pillow"]


@dataclass(frozen=True, kw_only=True)
class DecodedClip:
    """Sampled frames of one clip, resized and cropped, with their place in the source's own clock.

    Invariants (checked): at least one frame; one presentation time a frame, never decreasing;
    ``start_ns < end_ns`` for video, both 0 for an image.
    """

    frames_THWC: npt.NDArray[np.uint8]
    """[T, size, size, 3], RGB, C-contiguous."""
    frame_pts_ns: npt.NDArray[np.int64]
    """[T] presentation time of each sampled frame."""
    start_ns: int
    end_ns: int
    """Half-open span [start, end)."""
    fps: float | None
    """Nominal sampled rate; null for an image, and for an animation taken frame by frame."""
    source_height: int
    source_width: int
    """Pixels of the source's frame as shown (after rotation), before resizing."""

    def __post_init__(self) -> None:
        frames, times = self.frames_THWC, self.frame_pts_ns
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
            raise ValueError(f"frames must be uint8 [T>0, H, W, 3], not {frames.dtype} {frames.shape}")
        if times.dtype != np.int64 or times.shape != (len(frames),) or bool(np.any(np.diff(times) < 0)):
            raise ValueError(f"frame_pts_ns must be {len(frames)} non-decreasing int64 times")


@dataclass(frozen=True, kw_only=True)
class MediaFacts:
    """What was found out about an item's media; null where it never got that far."""

    media: Media | None = None
    container: str | None = None
    """Format name as FFmpeg or Pillow gives it, e.g. ``mov,mp4,m4a,3gp,3g2,mj2`` or ``JPEG``."""
    codec: str | None = None
    decoder: Decoder | None = None
    height: int | None = None
    width: int | None = None
    """As shown, after rotation."""
    duration_ns: int | None = None
    """Of the media's presentation, not of what was sampled."""
    fps: float | None = None
    """Average native rate."""


@dataclass(frozen=True, kw_only=True)
class ItemStart:
    """The beginning of one of an archive's items."""

    key: str | None
    """The member's name; null for what is said of the archive as a whole."""
    size_bytes: int
    """Of the member, or the archive."""
    metadata: str | None = None
    """JSON object: what the plan carries for the archive, and the item's sidecars."""


@dataclass(frozen=True, kw_only=True)
class ItemEnd:
    """The end of one item's clips: nothing wrong (``reason`` null), or what is missing and why."""

    facts: MediaFacts
    reason: Reason | None = None
    detail: str | None = None
    """One readable sentence beside the reason; holds no path of the machine and no credential."""
    num_source_frames: int = 0
    """Frames that the decoder delivered, sampled or not."""
    read_s: float = field(default=0.0, compare=False)
    decode_s: float = field(default=0.0, compare=False)
    """Time that its decoder took, for people; never in a file, and no difference between two ends."""

    def outcome(self, num_clips: int) -> Outcome:
        """ok without a reason; with one, partial where clips were kept, else failed."""
        if self.reason is None:
            return Outcome.OK
        return Outcome.PARTIAL if num_clips else Outcome.FAILED

    @classmethod
    def unread(cls, reason: Reason, detail: str) -> "ItemEnd":
        """The end of an item of whose media nothing (more) is known."""
        return cls(facts=MediaFacts(), reason=reason, detail=detail)


ItemEvent = DecodedClip | ItemEnd
"""An item is any number of DecodedClip, then exactly one ItemEnd."""

SourceEvent = ItemStart | ItemEvent
"""A plain source is one item. An archive is one item or more, each opened by an ItemStart."""
