"""Layers within each frame.

Axes: B clips, C channels, T frames, M = B·T, H and W positions, S = H·W.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def per_frame(layer: Callable[[Tensor], Tensor], x_BCTHW: Tensor) -> Tensor:
    """Apply a layer over [M, C, H, W] to every frame."""
    num_clips = len(x_BCTHW)
    return layer(x_BCTHW.transpose(1, 2).flatten(0, 1)).unflatten(0, (num_clips, -1)).transpose(1, 2)


def attend_in_frames(q_BCTHW: Tensor, k_BCTHW: Tensor, v_BCTHW: Tensor) -> Tensor:
    """Attend from each position to all of its frame, with one head: [B, C, T, H, W]."""
    size = q_BCTHW.shape[-2:]
    # B T S C
    q, k, v = (x.flatten(3).permute(0, 2, 3, 1) for x in (q_BCTHW, k_BCTHW, v_BCTHW))
    return scaled_dot_product_attention(q, k, v).permute(0, 3, 1, 2).unflatten(3, size)
