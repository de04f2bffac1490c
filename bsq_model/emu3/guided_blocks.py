"""Blocks of Emu3's decoder, whose norms the values of the codes scale and shift.

Attributes have the names that published weights have. Axes: T frames, H and W positions, h and w of the token
grid, s = H/h = W/w, C channels, E output channels, L channels of the codes' values, in ``guide_ThwL``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import attend_in_frames
from bitmill.bsq_model.layers.images.blocks import ImageConv, ImageNorm


class GuidedNorm(nn.Module):
    """Normalises each frame in groups, then scales and shifts each position as the token over it says."""

    def __init__(self, channels: int, guide_channels: int) -> None:
        super().__init__()
        self.norm_layer = ImageNorm(channels)
        self.conv_y = ImageConv(guide_channels, channels, 1)
        self.conv_b = ImageConv(guide_channels, channels, 1)

    def forward(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        normed = self.norm_layer(x_THWC)
        height, width = guide_ThwL.shape[1:3]
        # The published code repeats the guide to H×W, then convolves it: s² times the work, the same values.
        scale, shift = (conv(guide_ThwL)[:, :, None, :, None] for conv in (self.conv_y, self.conv_b))
        normed_ThswsC = normed.unflatten(2, (width, -1)).unflatten(1, (height, -1))
        torch.addcmul(shift, normed_ThswsC, scale, out=normed_ThswsC)
        return normed

    def silu(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Normalise, then SiLU, in other memory."""
        return functional.silu(self(x_THWC, guide_ThwL), inplace=True)


class GuidedBlock(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, channels: int, outputs: int, guide_channels: int) -> None:
        super().__init__()
        self.norm1 = GuidedNorm(channels, guide_channels)
        self.conv1 = ImageConv(channels, outputs)
        self.norm2 = GuidedNorm(outputs, guide_channels)
        self.conv2 = ImageConv(outputs, outputs)
        self.nin_shortcut = ImageConv(channels, outputs, 1) if channels != outputs else nn.Identity()

    def forward(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Return [T, H, W, E]."""
        inner = self.conv1(self.norm1.silu(x_THWC, guide_ThwL))
        return self.conv2(self.norm2.silu(inner, guide_ThwL)).add_(self.nin_shortcut(x_THWC))


class GuidedAttention(nn.Module):
    """Residual attention within each frame, with one head."""

    def __init__(self, channels: int, guide_channels: int) -> None:
        super().__init__()
        self.norm = GuidedNorm(channels, guide_channels)
        self.q = ImageConv(channels, channels, 1)
        self.k = ImageConv(channels, channels, 1)
        self.v = ImageConv(channels, channels, 1)
        self.proj_out = ImageConv(channels, channels, 1)

    def forward(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_THWC, guide_ThwL)
        return self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed))).add_(x_THWC)


class GuidedMiddle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int, guide_channels: int) -> None:
        super().__init__()
        self.block_1 = GuidedBlock(channels, channels, guide_channels)
        self.attn_1 = GuidedAttention(channels, guide_channels)
        self.block_2 = GuidedBlock(channels, channels, guide_channels)

    def forward(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Return the same shape."""
        for layer in (self.block_1, self.attn_1, self.block_2):
            x_THWC = layer(x_THWC, guide_ThwL)
        return x_THWC
