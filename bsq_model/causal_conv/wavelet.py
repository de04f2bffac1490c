"""The Haar wavelet in front of the encoder; no weights.

Axes: ``x`` any, T frames, H and W pixels, C = 3 colours, s frames of a row of tokens, R rows, P = 3·16·s.
"""

import torch
from torch import Tensor

from bitmill.schemas.models.causal_conv_config import CELL_PX

_TIME, _HEIGHT, _WIDTH = -4, -3, -2


def cells_of_pixels(pixels_xTHWC: Tensor, frames_per_row: int) -> Tensor:
    """Return [..., R, H/4, W/4, P] of R·s frames: averages of halves, then their differences, not halved.

    Differences are far smaller than averages, and would be lost in the first layer if they were halved too.
    """
    for axis, times in ((_TIME, frames_per_row), (_HEIGHT, CELL_PX), (_WIDTH, CELL_PX)):
        for _ in range(times.bit_length() - 1):
            one, other = pixels_xTHWC.unflatten(axis, (-1, 2)).unbind(axis)
            pixels_xTHWC = torch.cat(((one + other) / 2, one - other), dim=-1)
    return pixels_xTHWC
