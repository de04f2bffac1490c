"""Fits decoded pictures to the job's frame size by its pixel rule.

Rule 1 goes through FFmpeg's RGB, rule 2 by exact integers on a video's planes; stills and animations are RGB.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels import planes
from bitmill.pipeline.decode.pixels.crop import centre_crop
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.decode.pixels.resize import fit
from bitmill.pipeline.decode.sampling.assemble import FittedFrame
from bitmill.pipeline.decode.video.pyav_reader import PyavPicture
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.frames import PixelRule


class RgbPicture(Protocol):
    """A decoded picture that gives uint8 RGB [H, W, 3] and the aspect of its pixels."""

    def rgb(self) -> tuple[npt.NDArray[np.uint8], Fraction]:
        """Return the pixels, upright, and width by height of one of them."""
        ...


@dataclass
class FrameFitter:
    """Fits all frames of one media file to one size, which its first frame decides."""

    sizes: FrameSizes
    pixel_rule: PixelRule
    size: SizePx | None = None

    def video_frame(self, picture: PyavPicture) -> FittedFrame:
        """Fit a video's picture by the pixel rule."""
        return self.rgb_frame(picture) if self.pixel_rule == 1 else self._planes_frame(picture)

    def rgb_frame(self, picture: RgbPicture) -> FittedFrame:
        """Fit a picture through its RGB."""
        pixels, aspect = picture.rgb()
        height, width = pixels.shape[:2]
        size = self._size(width, height, aspect)
        return FittedFrame(fit(pixels, size, aspect), height, width, centre_crop(width, height, aspect, size))

    def _planes_frame(self, picture: PyavPicture) -> FittedFrame:
        found, orientation = picture.planes(), picture.orientation
        height, width, aspect = found.height, found.width, picture.aspect
        if orientation.transpose:
            height, width, aspect = width, height, 1 / aspect
        size = self._size(width, height, aspect)
        pixels = planes.fit(found, size, picture.aspect, orientation)
        return FittedFrame(pixels, height, width, centre_crop(width, height, aspect, size))

    def _size(self, width: int, height: int, aspect: Fraction) -> SizePx:
        """Returns the file's size; the first frame, whose size after rotation is given, decides."""
        self.size = self.size or self.sizes.size_of(width, height, aspect)
        return self.size
