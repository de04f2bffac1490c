"""Emu3's layers across frames, at the resolution of the tokens; attributes have the names of its weights.

Axes: T frames of a chunk, H and W positions, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past

_EPS = 1e-5


class StoredNorm(nn.Module):
    """Batch normalisation by the mean and variance of training, which are among the weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        scale_C = self.weight * torch.rsqrt(self.get_buffer("running_var") + _EPS)
        shift_C = self.bias - self.get_buffer("running_mean") * scale_C
        return torch.addcmul(shift_C, x_THWC, scale_C)


class TemporalBlock(nn.Module):
    """A residual block of two causal 3×3×3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = StoredNorm(channels)
        self.conv1 = CausalConv3d(channels, channels, "zeros")
        self.norm2 = StoredNorm(channels)
        self.conv2 = CausalConv3d(channels, channels, "zeros")

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        inner = self.conv1(functional.silu(self.norm1(x_THWC), inplace=True), past)
        return self.conv2(functional.silu(self.norm2(inner), inplace=True), past).add_(x_THWC)


class TemporalDownsample(nn.Module):
    """Halves the number of frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, "zeros", size=(4, 3, 3), stride=2)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T/2, H, W, C] of an even T."""
        return functional.silu(self.conv(x_THWC, past), inplace=True)


class TemporalUpsample(nn.Module):
    """Doubles the number of frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, "zeros")

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [2·T, H, W, C]."""
        return functional.silu(self.conv(x_THWC.repeat_interleave(2, dim=0), past), inplace=True)
