"""VidTok's residual blocks and attention; attributes have the names that published weights have.

Axes: B clips, C channels, T frames, H and W pixels, M samples of a norm.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.causal_conv import CausalConv1d, CausalConv3d, Past, TimePad
from bitmill.bsq_model.layers.frames import attend_in_frames, per_frame
from bitmill.schemas.models.vidtok_config import NORM_GROUPS, Norm


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        return self.norm(x_BCTHW.movedim(1, -1)).movedim(-1, 1)


class GroupNorm(nn.Module):
    """Norm over groups of channels: of each frame, or of each position by itself."""

    def __init__(self, channels: int, *, of_positions: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._of_positions = of_positions

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        if not self._of_positions:
            return per_frame(self._normed, x_BCTHW)
        x_BTHWC = x_BCTHW.movedim(1, -1)
        return self._normed(x_BTHWC.flatten(0, -2)).view(x_BTHWC.shape).movedim(-1, 1)

    def _normed(self, x_MCx: Tensor) -> Tensor:
        return functional.group_norm(x_MCx, NORM_GROUPS, self.weight, self.bias, eps=1e-6)


def frame_norm(channels: int, norm: Norm) -> nn.Module:
    """Return the norm of all blocks but the temporal ones."""
    return ChannelNorm(channels) if norm == "layer" else GroupNorm(channels, of_positions=False)


def temporal_norm(channels: int, norm: Norm) -> nn.Module:
    """Return the norm of the blocks across frames: the published code normalises each position alone."""
    return ChannelNorm(channels) if norm == "layer" else GroupNorm(channels, of_positions=True)


def norm_silu(norm: nn.Module, x_BCTHW: Tensor) -> Tensor:
    """Normalise, then SiLU."""
    return functional.silu(norm(x_BCTHW))


class FrameBlock(nn.Module):
    """A residual block of 3×3 convolutions over each frame."""

    def __init__(self, channels: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = frame_norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, outputs, 3, padding=1)
        self.norm2 = frame_norm(outputs, norm)
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
    """A residual block of two causal convolutions and two norms, which the functions make."""

    def __init__(
        self, make_norm: Callable[[], nn.Module], make_conv: Callable[[], CausalConv1d | CausalConv3d]
    ) -> None:
        super().__init__()
        self.norm1 = make_norm()
        self.conv1 = make_conv()
        self.norm2 = make_norm()
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

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = frame_norm(channels, norm)
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

    def __init__(self, channels: int, pad: TimePad, norm: Norm) -> None:
        super().__init__()
        make_norm, make_conv = (
            partial(frame_norm, channels, norm),
            partial(CausalConv3d, channels, channels, pad),
        )
        self.block_1 = CausalBlock(make_norm, make_conv)
        self.attn_1 = FrameAttention(channels, norm)
        self.block_2 = CausalBlock(make_norm, make_conv)

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_BCTHW, past)), past)


def frame_blocks(channels: int, outputs: int, num_blocks: int, norm: Norm) -> nn.ModuleList:
    """Return a level's blocks within frames."""
    return nn.ModuleList(
        FrameBlock(outputs if index else channels, outputs, norm) for index in range(num_blocks)
    )


def temporal_blocks(channels: int, num_blocks: int, pad: TimePad, norm: Norm) -> nn.ModuleList:
    """Return a level's blocks across frames."""
    make_norm, make_conv = partial(temporal_norm, channels, norm), partial(CausalConv1d, channels, pad)
    return nn.ModuleList(CausalBlock(make_norm, make_conv) for _ in range(num_blocks))
