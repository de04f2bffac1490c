"""Rotates and mirrors pixels by a container's display matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Orientation:
    """Transpose, then mirror: every display matrix with right angles is one of these eight."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, picture_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns an oriented view, [H, W, 3] or [W, H, 3]."""
        picture = picture_HWC.transpose(1, 0, 2) if self.transpose else picture_HWC
        return picture[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


UPRIGHT = Orientation()


def read_matrix(side_data: bytes) -> Orientation:
    """Parse FFmpeg's nine native int32 (a b u; c d v; x y w): (x, y) maps to (a·x + c·y, b·x + d·y).

    Other angles are rounded to the nearest right angle; damaged data counts as upright.
    """
    if len(side_data) < 36:
        return UPRIGHT
    a, b, _, c, d = (int(value) for value in np.frombuffer(side_data[:20], np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)
