"""Resizes RGB images by Pillow's Lanczos."""

import math
from fractions import Fraction

import numpy as np

from bitmill.pipeline.decode.pixels.crop import Box, crop_box
from bitmill.pipeline.decode.pixels.lanczos import LOBES, resampled
from bitmill.schemas.arrays import Picture
from bitmill.schemas.models.geometry import SizePx


def fit(picture_HWC: Picture, size: SizePx, aspect: Fraction = Fraction(1)) -> Picture:
    """Resize [H, W, 3] to [*size, 3], C-contiguous: the least that covers ``size``, then its centre."""
    height, width = picture_HWC.shape[:2]
    return resample(picture_HWC, crop_box(width, height, aspect, size), size[1], size[0])


def resample(picture_HWC: Picture, box: Box, width_px: int, height_px: int) -> Picture:
    """Resample the box of an image to [height_px, width_px, 3], C-contiguous, by Lanczos."""
    height, width = picture_HWC.shape[:2]
    columns, x_shift = _needed(box[0], box[2], width, width_px)
    rows, y_shift = _needed(box[1], box[3], height, height_px)
    near_HWC = np.ascontiguousarray(picture_HWC[rows, columns])
    near_box = (box[0] - x_shift, box[1] - y_shift, box[2] - x_shift, box[3] - y_shift)
    return resampled(near_HWC, near_box, (width_px, height_px))


def _needed(low: float, high: float, length: int, size_px: int) -> tuple[slice, int]:
    """Returns the slice of source pixels within the filter's support of [low, high), and its start."""
    reach = math.ceil(LOBES * max((high - low) / size_px, 1.0)) + 2
    start = max(0, math.floor(low) - reach)
    stop = min(length, math.ceil(high) + reach)
    return slice(start, stop), start
