"""Converts uint8 to float pixels and pixels to patches, and back; no weights.

Axes: H and W pixels, C = 3 colours, h and w tokens (H/p and W/p for patches of p² pixels), P = 3·p² values of
a patch in (channel, row, column) order. ``x`` is any number of axes.
"""

import torch
from torch import Tensor


def pixels_from_uint8(clip_xHWC: Tensor, dtype: torch.dtype) -> Tensor:
    """Map grey levels 0 to 255 to ``x/127.5 − 1`` in [−1, 1], computed in float32."""
    return (clip_xHWC.float() / 127.5 - 1).to(dtype)


def uint8_from_pixels(pixels_xHWC: Tensor) -> Tensor:
    """Clamp to [−1, 1] and round to the nearest grey level (halves to even)."""
    return ((pixels_xHWC.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def patches_from_pixels(pixels_xHWC: Tensor, patch_size_px: int) -> Tensor:
    """Split [..., H, W, C] into patches [..., h, w, P]."""
    p = patch_size_px
    x = pixels_xHWC.unflatten(-3, (-1, p)).unflatten(-2, (-1, p))  # x h p w p C
    # x h w C p p: move each patch's rows and columns after its channel.
    return x.movedim((-5, -3, -1, -4, -2), (-5, -4, -3, -2, -1)).flatten(-3)


def pixels_from_patches(patches_xhwP: Tensor, patch_size_px: int) -> Tensor:
    """Join [..., h, w, P] to [..., H, W, C]: the inverse of ``patches_from_pixels``."""
    p = patch_size_px
    x = patches_xhwP.unflatten(-1, (3, p, p))  # x h w C p p
    x = x.movedim((-5, -4, -3, -2, -1), (-5, -3, -1, -4, -2))  # x h p w p C
    return x.flatten(-5, -4).flatten(-3, -2)
