"""VidTok's residual blocks and attention; attributes have the names that published weights have.

Axes: B clips, C channels, T frames, H and W pixels.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.causal_conv import CausalConv1d, CausalConv3d, Past, TimePad
from bitmill.bsq_model.layers.frames import attend_in_frames, per_frame


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        return self.norm(x_BCTHW.movedim(1, -1)).movedim(-1, 1)


def norm_silu(norm: nn.Module, x_BCTHW: Tensor) -> Tensor:
    """Normalise, then SiLU."""
    return functional.silu(norm(x_BCTHW))


class FrameBlock(nn.Module):
    """A residual block of 3×3 convolutions over each frame."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, outputs, 3, padding=1)
        self.norm2 = ChannelNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if channels != outputs:
            self.nin_shortcut = nn.Conv2d(channels, outputs, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return [B, outputs, T, H, W]."""
        inner = per_frame(self.conv1, norm_silu(self.norm1, x_BCTHW))
        inner = per_frame(self.conv2, norm_silu(self.norm2, inner))
        has_shortcut = inner.shape[1] != x_BCTHW.shape[1]
        return inner + (per_frame(self.nin_shortcut, x_BCTHW) if has_shortcut else x_BCTHW)


class CausalBlock(nn.Module):
    """A residual block of two causal convolutions that ``make_conv`` makes."""

    def __init__(self, channels: int, make_conv: Callable[[], CausalConv1d | CausalConv3d]) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = make_conv()
        self.norm2 = ChannelNorm(channels)
        self.conv2 = make_conv()

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        inner = self.conv1(norm_silu(self.norm1, x_BCTHW), past)
        return x_BCTHW + self.conv2(norm_silu(self.norm2, inner), past)


class PointwiseConv(nn.Module):
    """A 1×1×1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        return self.conv(x_BCTHW)


class FrameAttention(nn.Module):
    """Residual attention within each frame, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.q = PointwiseConv(channels)
        self.k = PointwiseConv(channels)
        self.v = PointwiseConv(channels)
        self.proj_out = PointwiseConv(channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_BCTHW)
        return x_BCTHW + self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed)))


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int, pad: TimePad) -> None:
        super().__init__()
        self.block_1 = CausalBlock(channels, lambda: CausalConv3d(channels, channels, pad))
        self.attn_1 = FrameAttention(channels)
        self.block_2 = CausalBlock(channels, lambda: CausalConv3d(channels, channels, pad))

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_BCTHW, past)), past)


def frame_blocks(channels: int, outputs: int, num_blocks: int) -> nn.ModuleList:
    """Return a level's blocks within frames."""
    return nn.ModuleList(FrameBlock(outputs if index else channels, outputs) for index in range(num_blocks))


def temporal_blocks(channels: int, num_blocks: int, pad: TimePad) -> nn.ModuleList:
    """Return a level's blocks across frames."""
    return nn.ModuleList(
        CausalBlock(channels, lambda: CausalConv1d(channels, pad)) for _ in range(num_blocks)
    )
