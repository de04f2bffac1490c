"""Blocks of Cosmos DV; attributes have the names that published weights have.

Axes: T frames of a chunk, m frames with earlier ones, H and W positions, P = H·W, n of these positions, C
channels, E output channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import attend_in_frames, conv_frames, normed_frames
from bitmill.bsq_model.layers.past_frames import Past, Taps
from bitmill.bsq_model.layers.products import pieces


class SpaceConv(nn.Module):
    """A convolution within each frame."""

    def __init__(self, channels: int, outputs: int, size: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, outputs, (1, size, size))

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, H, W, E]."""
        return conv_frames(x_THWC, self.conv3d, pad=self.conv3d.kernel_size[1] // 2)


class TimeConv(nn.Module):
    """A causal convolution over 3 frames at each position, after the first frame repeated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, channels, (3, 1, 1))

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape, in the input's memory."""
        taps = Taps(self.conv3d.weight, self.conv3d.bias)
        x_TPC, kept_2PC = x_THWC.flatten(1, 2), past.frames(self, x_THWC, 2).flatten(1, 2)
        num_frames, num_positions, channels = x_TPC.shape
        for positions in pieces(num_positions, x_TPC, num_frames * channels):
            x_TnC = x_TPC[:, positions]
            x_TnC.copy_(taps(past.before(kept_2PC[:, positions], x_TnC, "first")))
        return x_THWC


class ConvPair(nn.ModuleList):
    """A 3×3 convolution in space, then one over 3 frames."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__([SpaceConv(channels, outputs, 3), TimeConv(outputs)])

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T, H, W, E]."""
        return self[1](self[0](x_THWC), past)


class FrameNorm(nn.Module):
    """Normalises each frame over all channels and positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        return normed_frames(self.norm, x_THWC, 1)


def norm_silu(norm: FrameNorm, x_THWC: Tensor) -> Tensor:
    """Normalise, then SiLU, in other memory."""
    return functional.silu(norm(x_THWC), inplace=True)


class ResidualBlock(nn.Module):
    """A residual block of two pairs of convolutions."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = FrameNorm(channels)
        self.conv1 = ConvPair(channels, outputs)
        self.norm2 = FrameNorm(outputs)
        self.conv2 = ConvPair(outputs, outputs)
        self.nin_shortcut = SpaceConv(channels, outputs) if channels != outputs else nn.Identity()

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T, H, W, E]."""
        inner = self.conv1(norm_silu(self.norm1, x_THWC), past)
        return self.conv2(norm_silu(self.norm2, inner), past).add_(self.nin_shortcut(x_THWC))


class _Projections(nn.Module):
    """What both kinds of attention have: one head, and no weight besides these."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = FrameNorm(channels)
        self.q = SpaceConv(channels, channels)
        self.k = SpaceConv(channels, channels)
        self.v = SpaceConv(channels, channels)
        self.proj_out = SpaceConv(channels, channels)


class SpatialAttention(_Projections):
    """Residual attention within each frame."""

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_THWC)
        return self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed))).add_(x_THWC)


class TemporalAttention(_Projections):
    """Residual attention at each position to it in this and all earlier frames."""

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape; ``past`` keeps the keys and values of all frames."""
        normed = self.norm(x_THWC)
        new = torch.stack((self.k(normed), self.v(normed)))
        keys_values = new if past.is_start else torch.cat((past.kept[self], new), dim=1)
        past.kept[self] = keys_values
        # H W T C
        q, k, v = (x.permute(1, 2, 0, 3) for x in (self.q(normed), *keys_values))
        num_new, num_all = q.shape[2], k.shape[2]
        mask_Tm = torch.ones(num_new, num_all, dtype=torch.bool, device=q.device).tril(num_all - num_new)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_Tm)
        return self.proj_out(attended.permute(2, 0, 1, 3).contiguous()).add_(x_THWC)


class Attention(nn.ModuleList):
    """Attention in space, then in time."""

    def __init__(self, channels: int) -> None:
        super().__init__([SpatialAttention(channels), TemporalAttention(channels)])

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        return self[1](self[0](x_THWC), past)


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_THWC, past), past), past)
