"""The geometry of resizing and cropping; without compiled code, which is slow to import."""

from fractions import Fraction
from functools import lru_cache

from bitmill.pipeline.items import Crop
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.outcomes import Reason

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in source pixels."""

_MOST_PX = 2**31 - 1
"""The longest scaled side that tables store."""
_SANE_ASPECTS = (Fraction(1, 20), Fraction(20))


def sane_aspect(aspect: Fraction) -> Fraction:
    """Returns the pixel aspect ratio, or 1 if it is beyond 1:20, which counts as damaged."""
    return aspect if _SANE_ASPECTS[0] <= aspect <= _SANE_ASPECTS[1] else Fraction(1)


@lru_cache(maxsize=64)
def scaled_size(width: int, height: int, aspect: Fraction, size: SizePx) -> tuple[int, int]:
    """Returns the least (width, height) that covers ``size`` (height, width) at the displayed aspect ratio.

    One side is exact, the other is rounded down, as in torchvision's Resize of the short side.
    """
    shown_width = width * sane_aspect(aspect)
    if shown_width * size[0] <= height * size[1]:
        return size[1], int(size[1] * height / shown_width)
    return int(size[0] * shown_width / height), size[0]


def centre_crop(width: int, height: int, aspect: Fraction, size: SizePx) -> Crop:
    """Returns the crop of ``size`` from the middle of the frame, scaled by ``scaled_size``.

    Raises BadItemError(TOO_MANY_PIXELS) if a scaled side is too long to be stored.
    """
    scaled_width, scaled_height = scaled_size(width, height, aspect, size)
    if max(scaled_width, scaled_height) > _MOST_PX:
        detail = f"A picture of {width}×{height} pixels would be {scaled_width}×{scaled_height} when scaled."
        raise BadItemError(Reason.TOO_MANY_PIXELS, detail)
    return Crop(
        scaled_height=scaled_height,
        scaled_width=scaled_width,
        top=round((scaled_height - size[0]) / 2),
        left=round((scaled_width - size[1]) / 2),
    )


def crop_box(width: int, height: int, aspect: Fraction, size: SizePx) -> Box:
    """Returns the box of source pixels behind the centre crop, so that one resampling does both steps."""
    crop = centre_crop(width, height, aspect, size)
    across, down = width / crop.scaled_width, height / crop.scaled_height
    # Rounding may put the last edge beyond the image, which Pillow would refuse.
    right = min((crop.left + size[1]) * across, float(width))
    bottom = min((crop.top + size[0]) * down, float(height))
    return crop.left * across, crop.top * down, right, bottom
