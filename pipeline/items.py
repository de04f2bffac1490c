"""Values passed from decoding to the shard loop: clips of frames, then one end per item."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from bitmill.schemas.outcomes import Outcome, Reason

Media = Literal["video", "image", "animation"]
Decoder = Literal["decord", "pyav", "pyav, sought", "pillow"]
"""``sought``: only what the sampled frames need was decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """The size to which a frame was scaled, and the first pixel of its crop there."""

    scaled_height: int
    scaled_width: int
    top: int
    left: int


@dataclass(frozen=True, kw_only=True)
class DecodedClip:
    """Sampled frames of one clip, resized and cropped, with timestamps on the source's clock.

    Invariants (checked): at least one frame; one presentation time per frame, never decreasing; ``start_ns <
    end_ns`` for video, both 0 for an image.
    """

    frames_THWC: npt.NDArray[np.uint8]
    """[T, H, W, 3], RGB, C-contiguous."""
    frame_pts_ns: npt.NDArray[np.int64]
    """[T] presentation time of each sampled frame."""
    start_ns: int
    end_ns: int
    """Half-open span [start, end)."""
    fps: float | None
    """Nominal sampled rate; None for an image, and for an animation sampled frame by frame."""
    source_height: int
    source_width: int
    """Width of the source's frame in pixels, after rotation and before resizing."""
    crop: Crop
    """What of the source's frame is shown."""

    def __post_init__(self) -> None:
        frames, times = self.frames_THWC, self.frame_pts_ns
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
            raise ValueError(f"frames must be uint8 [T>0, H, W, 3], not {frames.dtype} {frames.shape}")
        if times.dtype != np.int64 or times.shape != (len(frames),) or bool(np.any(np.diff(times) < 0)):
            raise ValueError(f"frame_pts_ns must be {len(frames)} non-decreasing int64 times")


@dataclass(frozen=True, kw_only=True)
class MediaFacts:
    """Known facts of an item's media; None for those that were not determined."""

    media: Media | None = None
    container: str | None = None
    """Format name from FFmpeg or Pillow, e.g. ``mov,mp4,m4a,3gp,3g2,mj2`` or ``JPEG``."""
    codec: str | None = None
    decoder: Decoder | None = None
    height: int | None = None
    width: int | None = None
    """After rotation."""
    duration_ns: int | None = None
    """Presentation time of the media, not of the sampled part."""
    fps: float | None = None
    """Average native frame rate."""


@dataclass(frozen=True, kw_only=True)
class ItemStart:
    """The start of one item of an archive."""

    key: str | None
    """The member's name; None for the archive as a whole."""
    size_bytes: int
    """Size of the member, or of the archive."""
    metadata: str | None = None
    """JSON object: the archive's metadata in the plan, and the item's sidecars."""


@dataclass(frozen=True, kw_only=True)
class ItemEnd:
    """The end of one item's clips: complete (``reason`` None), or what is missing and why."""

    facts: MediaFacts
    reason: Reason | None = None
    detail: str | None = None
    """One sentence on the reason; contains no local path and no credentials."""
    num_source_frames: int = 0
    """Frames that the decoder returned, sampled or not."""
    num_dropped_frames: int = 0
    """Sampled frames that are in no clip."""
    read_s: float = field(default=0.0, compare=False)
    decode_s: float = field(default=0.0, compare=False)
    """Decoding time, for display; never written to a file, and ignored in comparisons."""

    def outcome(self, num_clips: int) -> Outcome:
        """Returns ok without a reason; with one, partial if clips were kept, else failed."""
        if self.reason is None:
            return Outcome.OK
        return Outcome.PARTIAL if num_clips else Outcome.FAILED

    @classmethod
    def unread(cls, reason: Reason, detail: str) -> "ItemEnd":
        """Returns the end of an item about whose media nothing (more) is known."""
        return cls(facts=MediaFacts(), reason=reason, detail=detail)


ItemEvent = DecodedClip | ItemEnd
"""An item is any number of DecodedClips, then exactly one ItemEnd."""

SourceEvent = ItemStart | ItemEvent
"""A plain source is one item. An archive is one or more items, each opened by an ItemStart."""
