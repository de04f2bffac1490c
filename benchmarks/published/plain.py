"""What the plain networks have in common: ``F.conv3d`` over whole clips, channels first, explicit pads.

Written for comparison alone: it shares no code with bitmill's networks. Axes: B clips, C channels, T frames,
H and W pixels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


class Plain:
    """A network of weights by their published names."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def _has(self, name: str) -> bool:
        return f"{name}.weight" in self._weights

    def _conv(
        self,
        name: str,
        x: Tensor,
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
        before: int = 0,
        zeros: bool = False,
    ) -> Tensor:
        """Convolve after ``before`` frames of zeros, or of the first frame, and ``pad`` zeros in space."""
        weight = self._weights[f"{name}.weight"]
        if weight.ndim == 4:
            weight = weight[:, :, None]
        if weight.ndim == 3:
            weight = weight[..., None, None]
        if before and not zeros:
            x = torch.cat((x[:, :, :1].expand(-1, -1, before, -1, -1), x), dim=2)
        x = functional.pad(x, (*pad, before if zeros else 0, 0))
        return functional.conv3d(x, weight, self._weights.get(f"{name}.bias"), stride=stride)

    def _attend(self, name: str, x: Tensor, normed: Tensor, suffix: str, *, in_time: bool) -> Tensor:
        """One head: within each frame, or at each position to the frames so far."""
        suffix = f".{suffix}" if suffix else ""
        q, k, v = (self._conv(f"{name}.{part}{suffix}", normed) for part in "qkv")
        order = (0, 3, 4, 2, 1) if in_time else (0, 2, 3, 4, 1)
        q, k, v = (part.permute(order) for part in (q, k, v))
        shape = q.shape
        if not in_time:
            q, k, v = (part.flatten(2, 3) for part in (q, k, v))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=in_time).reshape(shape)
        back = (0, 4, 3, 1, 2) if in_time else (0, 4, 1, 2, 3)
        return x + self._conv(f"{name}.proj_out{suffix}", attended.permute(back))


def doubled_in_space(x: Tensor) -> Tensor:
    """Each position twice along both axes."""
    return x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
