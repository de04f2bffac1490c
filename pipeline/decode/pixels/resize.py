"""What is resized to what, and cropped where: the geometry of the one filter, Pillow's Lanczos."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels.lanczos import LOBES, resampled

Picture = npt.NDArray[np.uint8]
"""[H, W, 3] RGB."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in source pixels."""

_SANE_ASPECTS = (Fraction(1, 20), Fraction(20))


def sane_aspect(aspect: Fraction) -> Fraction:
    """The pixels' aspect, or 1 where it lies beyond 1:20, which is taken for damage."""
    return aspect if _SANE_ASPECTS[0] <= aspect <= _SANE_ASPECTS[1] else Fraction(1)


@lru_cache(maxsize=64)
def scaled_size(width: int, height: int, aspect: Fraction, size_px: int) -> tuple[int, int]:
    """(width, height) once the short side, as shown with pixels of ``aspect``, measures ``size_px``.

    The long side is rounded down, as torchvision's Resize does.
    """
    shown_width = width * sane_aspect(aspect)
    if shown_width <= height:
        return size_px, int(size_px * height / shown_width)
    return int(size_px * shown_width / height), size_px


def crop_box(width: int, height: int, aspect: Fraction, size_px: int) -> Box:
    """The source pixels behind the centre crop: both steps in one resampling."""
    scaled_width, scaled_height = scaled_size(width, height, aspect, size_px)
    left = round((scaled_width - size_px) / 2)
    top = round((scaled_height - size_px) / 2)
    across, down = width / scaled_width, height / scaled_height
    # The last edge may exceed the picture by a rounding error, which Pillow would refuse.
    right = min((left + size_px) * across, float(width))
    bottom = min((top + size_px) * down, float(height))
    return left * across, top * down, right, bottom


def to_square(picture_HWC: Picture, size_px: int, aspect: Fraction = Fraction(1)) -> Picture:
    """[H, W, 3] to [size_px, size_px, 3], C-contiguous: short side to size_px, centre crop, one Lanczos."""
    height, width = picture_HWC.shape[:2]
    return resample(picture_HWC, crop_box(width, height, aspect, size_px), size_px, size_px)


def resample(picture_HWC: Picture, box: Box, width_px: int, height_px: int) -> Picture:
    """The box of a picture as [height_px, width_px, 3], C-contiguous, by Lanczos."""
    height, width = picture_HWC.shape[:2]
    columns, x_shift = _needed(box[0], box[2], width, width_px)
    rows, y_shift = _needed(box[1], box[3], height, height_px)
    near_HWC = np.ascontiguousarray(picture_HWC[rows, columns])
    near_box = (box[0] - x_shift, box[1] - y_shift, box[2] - x_shift, box[3] - y_shift)
    return resampled(near_HWC, near_box, (width_px, height_px))


def _needed(low: float, high: float, length: int, size_px: int) -> tuple[slice, int]:
    """Source pixels within the filter's reach of [low, high), and where they start."""
    reach = math.ceil(LOBES * max((high - low) / size_px, 1.0)) + 2
    start = max(0, math.floor(low) - reach)
    stop = min(length, math.ceil(high) + reach)
    return slice(start, stop), start
