"""The Haar wavelet that makes patches of 4×4×4 pixels, of images 4×4; no weights.

Axes: C channels, T frames, H and W pixels, P channels of a patch: bands, then colours.
"""

import torch
from torch import Tensor

PATCH = 4
"""Frames, rows and columns of a patch: two rounds of halving."""

_ROUNDS = 2
_TIME, _HEIGHT, _WIDTH = 0, 1, 2


def patches_of_pixels(x_THWC: Tensor) -> Tensor:
    """Return [T/4, H/4, W/4, P = 64·C]; T, H and W are multiples of 4."""
    # The last axis becomes the most significant one of the bands.
    return _patches(x_THWC, (_WIDTH, _HEIGHT, _TIME))


def pixels_of_patches(x_THWP: Tensor) -> Tensor:
    """Return [4·T, 4·H, 4·W, C = P/64]: the inverse of ``patches_of_pixels``."""
    return _pixels(x_THWP, (_TIME, _HEIGHT, _WIDTH))


def image_patches(x_THWC: Tensor) -> Tensor:
    """Return [T, H/4, W/4, P = 16·C]; H and W are multiples of 4."""
    # Other than in videos: the width is the most significant axis of the bands.
    return _patches(x_THWC, (_HEIGHT, _WIDTH))


def image_pixels(x_THWP: Tensor) -> Tensor:
    """Return [T, 4·H, 4·W, C = P/16]: the inverse of ``image_patches``."""
    return _pixels(x_THWP, (_WIDTH, _HEIGHT))


def _patches(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in axes * _ROUNDS:
        one, other = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
        x = torch.cat((one + other, one - other), dim=-1) / 2
    return x


def _pixels(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in axes * _ROUNDS:
        low, high = x.chunk(2, dim=-1)
        x = torch.stack((low + high, low - high), dim=axis + 1).flatten(axis, axis + 1)
    return x
