"""The Haar wavelet that makes patches of 4×4×4 pixels, of images 4×4; no weights.

Axes: B clips, C channels, T frames, H and W pixels, P channels of a patch: bands, then colours.
"""

import torch
from torch import Tensor

PATCH = 4
"""Frames, rows and columns of a patch: two rounds of halving."""

_ROUNDS = 2
_TIME, _HEIGHT, _WIDTH = 2, 3, 4
_IMAGE_HEIGHT, _IMAGE_WIDTH = 2, 3


def patches_of_pixels(x_BCTHW: Tensor) -> Tensor:
    """Return [B, P = 64·C, T/4, H/4, W/4]; T, H and W are multiples of 4."""
    for _ in range(_ROUNDS):
        # The last axis becomes the most significant one of the bands.
        for axis in (_WIDTH, _HEIGHT, _TIME):
            x_BCTHW = _split(x_BCTHW, axis)
    return x_BCTHW


def pixels_of_patches(x_BPTHW: Tensor) -> Tensor:
    """Return [B, C = P/64, 4·T, 4·H, 4·W]: the inverse of ``patches_of_pixels``."""
    for _ in range(_ROUNDS):
        for axis in (_TIME, _HEIGHT, _WIDTH):
            x_BPTHW = _joined(x_BPTHW, axis)
    return x_BPTHW


def image_patches(x_BCHW: Tensor) -> Tensor:
    """Return [B, P = 16·C, H/4, W/4]; H and W are multiples of 4."""
    for _ in range(_ROUNDS):
        # Other than in videos: the width is the most significant axis of the bands.
        for axis in (_IMAGE_HEIGHT, _IMAGE_WIDTH):
            x_BCHW = _split(x_BCHW, axis)
    return x_BCHW


def image_pixels(x_BPHW: Tensor) -> Tensor:
    """Return [B, C = P/16, 4·H, 4·W]: the inverse of ``image_patches``."""
    for _ in range(_ROUNDS):
        for axis in (_IMAGE_WIDTH, _IMAGE_HEIGHT):
            x_BPHW = _joined(x_BPHW, axis)
    return x_BPHW


def _split(x: Tensor, axis: int) -> Tensor:
    one, other = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
    return torch.cat((one + other, one - other), dim=1) / 2


def _joined(x: Tensor, axis: int) -> Tensor:
    low, high = x.chunk(2, dim=1)
    return torch.stack((low + high, low - high), dim=axis + 1).flatten(axis, axis + 1)
