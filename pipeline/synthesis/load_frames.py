"""Loads a user's image, video or mask as frames of the tokenizer's size.

Axes: T frames, H and W pixels, h and w tokens.
"""

import torch
from torch import Tensor

from bitmill.pipeline.compressing.media_streams import decoded_clips
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec

_WHITE = 128


def frames_of(path: str, size_px: int, *, most_frames: int, fps: float | None) -> Tensor:
    """Return the first frames of an image or video, decoded as by ``tokenize``: uint8 [T, H, W, 3].

    Raises UsageError unless ``path`` is one file.
    """
    sources = find_sources(SourceSpec(paths=[path])).sources
    refuse_archives(sources, purpose="sample")
    if len(sources) != 1:
        raise UsageError(f"{path} contains {len(sources)} files; pass one image or video.")
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=fps, clip_frames=most_frames),
        limits=LimitsSpec(),
        sizes=squares(size_px),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    return torch.from_numpy(decoded_clips(sources[0], settings)[0].frames_THWC.copy())


def hidden_tokens(mask_THWC: Tensor, patch_px: SizePx) -> Tensor:
    """Return which tokens contain a pixel brighter than mid-grey: bool [T, h, w]."""
    height, width = patch_px
    white_THW = mask_THWC.float().mean(-1) >= _WHITE
    return white_THW.unflatten(1, (-1, height)).unflatten(3, (-1, width)).any(4).any(2)
