"""Blocks of images whose channels are the last axis; attributes have the names of Cosmos DI's weights.

Axes: T images, H and W positions, C channels, E output channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import (
    attend_in_frames,
    conv_frames,
    conv_of_doubled,
    halved_by_conv,
    normed_frames,
)


class ImageConv(nn.Conv2d):
    """A convolution of the same size."""

    def __init__(self, channels: int, outputs: int, size: int = 3, *, bias: bool = True) -> None:
        super().__init__(channels, outputs, size, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Conv2d's name)
        """Return [T, H, W, E] of [T, H, W, C]."""
        return conv_frames(input, self, pad=self.kernel_size[0] // 2)


class ImageNorm(nn.GroupNorm):
    """Normalises each image in 32 groups of channels, or in 24 if 32 does not divide them."""

    def __init__(self, channels: int) -> None:
        super().__init__(24 if channels % 32 else 32, channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.GroupNorm's name)
        """Return the same shape, [T, H, W, C], in other memory."""
        return normed_frames(self._norm, input, self.num_groups)

    def _norm(self, x_TCHW: Tensor) -> Tensor:
        # The module's own refuses a group of one value, which an image of one token has in small networks.
        return torch.group_norm(x_TCHW, self.num_groups, self.weight, self.bias, self.eps)


def norm_silu(norm: ImageNorm, x_THWC: Tensor) -> Tensor:
    """Normalise, then SiLU, in other memory."""
    return functional.silu(norm(x_THWC), inplace=True)


class ResidualBlock(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, channels: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.norm1 = ImageNorm(channels)
        self.conv1 = ImageConv(channels, outputs, bias=bias)
        self.norm2 = ImageNorm(outputs)
        self.conv2 = ImageConv(outputs, outputs, bias=bias)
        self.nin_shortcut = (
            ImageConv(channels, outputs, 1, bias=bias) if channels != outputs else nn.Identity()
        )

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, H, W, E]."""
        inner = self.conv1(norm_silu(self.norm1, x_THWC))
        return self.conv2(norm_silu(self.norm2, inner)).add_(self.nin_shortcut(x_THWC))


class Attention(nn.Module):
    """Attention over all positions, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ImageNorm(channels)
        self.q = ImageConv(channels, channels, 1)
        self.k = ImageConv(channels, channels, 1)
        self.v = ImageConv(channels, channels, 1)
        self.proj_out = ImageConv(channels, channels, 1)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_THWC)
        return self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed))).add_(x_THWC)


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int, *, attends: bool = True) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels) if attends else nn.Identity()
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_THWC)))


class Downsample(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, H/2, W/2, C]."""
        return halved_by_conv(x_THWC, self.conv)


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, 2·H, 2·W, C]."""
        return conv_of_doubled(x_THWC, self.conv)


def residual_blocks(channels: int, outputs: int, num_blocks: int, *, bias: bool = True) -> nn.Sequential:
    """Return a level's blocks."""
    return nn.Sequential(
        *(ResidualBlock(outputs if index else channels, outputs, bias=bias) for index in range(num_blocks))
    )
