"""Crops the drawn square from downscaled frames; pure functions."""

import numpy as np

from bitmill.pipeline.decode.pixels.resize import Box, resample
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.pipeline.training.data.sample_schedule import Draw


def drawn_box(width: int, height: int, draw: Draw, crop_scale: tuple[float, float]) -> Box:
    """Return the drawn square inside the picture; its side is the short side divided by the drawn scale."""
    least, most = crop_scale
    side = min(width, height) / (least + draw.scale * (most - least))
    left, top = draw.left * (width - side), draw.top * (height - side)
    # A rounding error may put an edge outside the picture, which Pillow rejects.
    return left, top, min(left + side, float(width)), min(top + side, float(height))


def crop(
    frames_THWC: Frames, draw: Draw, *, size_px: int, crop_scale: tuple[float, float], flip: bool
) -> Frames:
    """Return [T, size_px, size_px, 3], C-contiguous: the same square of all frames, mirrored if drawn and
    ``flip`` is set.
    """
    box = drawn_box(frames_THWC.shape[2], frames_THWC.shape[1], draw, crop_scale)
    squares = np.stack([resample(frame_HWC, box, size_px, size_px) for frame_HWC in frames_THWC])
    return np.ascontiguousarray(squares[:, :, ::-1]) if flip and draw.flip else squares
