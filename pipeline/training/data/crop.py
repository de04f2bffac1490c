"""Crops the drawn rectangle from downscaled frames; pure functions."""

import numpy as np

from bitmill.pipeline.decode.pixels.crop import Box
from bitmill.pipeline.decode.pixels.resize import resample
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.pipeline.training.data.sample_schedule import Draw
from bitmill.schemas.models.geometry import SizePx


def drawn_box(
    width: int, height: int, draw: Draw, crop_scale: tuple[float, float], size_px: SizePx = (1, 1)
) -> Box:
    """Return the drawn rectangle inside the picture: the largest of the shape of ``size_px``, (height,
    width), divided by the drawn scale."""
    least, most = crop_scale
    down, across = size_px
    rows = min(height, width * down / across) / (least + draw.scale * (most - least))
    columns = rows * across / down
    # A rounding error may put an edge outside the picture, which Pillow rejects.
    left, top = max(0.0, draw.left * (width - columns)), max(0.0, draw.top * (height - rows))
    return left, top, min(left + columns, float(width)), min(top + rows, float(height))


def crop(
    frames_THWC: Frames, draw: Draw, *, size_px: SizePx, crop_scale: tuple[float, float], flip: bool
) -> Frames:
    """Return [T, *size_px, 3], C-contiguous: the same rectangle of all frames, mirrored if drawn and ``flip``
    is set.
    """
    box = drawn_box(frames_THWC.shape[2], frames_THWC.shape[1], draw, crop_scale, size_px)
    height, width = size_px
    parts = np.stack([resample(frame_HWC, box, width, height) for frame_HWC in frames_THWC])
    return np.ascontiguousarray(parts[:, :, ::-1]) if flip and draw.flip else parts
