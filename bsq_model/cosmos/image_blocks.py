"""Blocks of Cosmos DI; attributes have the names that published weights have.

Axes: B images, C channels, H and W positions.
"""

from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import attend_in_frames


def image_norm(channels: int) -> nn.GroupNorm:
    """Return the norm over 32 groups of channels."""
    return nn.GroupNorm(32, channels, eps=1e-6)


def image_conv(channels: int, outputs: int) -> nn.Conv2d:
    """Return a 3×3 convolution of the same size."""
    return nn.Conv2d(channels, outputs, 3, padding=1)


class ResidualBlock(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = image_norm(channels)
        self.conv1 = image_conv(channels, outputs)
        self.norm2 = image_norm(outputs)
        self.conv2 = image_conv(outputs, outputs)
        self.nin_shortcut = nn.Conv2d(channels, outputs, 1) if channels != outputs else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, outputs, H, W]."""
        inner = self.conv1(functional.silu(self.norm1(x_BCHW)))
        return self.nin_shortcut(x_BCHW) + self.conv2(functional.silu(self.norm2(inner)))


class Attention(nn.Module):
    """Residual attention over all positions, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = image_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_BCHW)
        q, k, v = (project(normed)[:, :, None] for project in (self.q, self.k, self.v))
        return x_BCHW + self.proj_out(attend_in_frames(q, k, v)[:, :, 0])


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_BCHW)))


class Downsample(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, H/2, W/2]."""
        return self.conv(functional.pad(x_BCHW, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = image_conv(channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, 2·H, 2·W]."""
        return self.conv(functional.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))


def residual_blocks(channels: int, outputs: int, num_blocks: int) -> nn.Sequential:
    """Return a level's blocks."""
    return nn.Sequential(
        *(ResidualBlock(outputs if index else channels, outputs) for index in range(num_blocks))
    )
