"""Blocks of Cosmos DV; attributes have the names that published weights have.

Axes: B clips, C channels, T frames, H and W positions, n new frames, m frames with earlier ones.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.causal_conv import Past, after_past
from bitmill.bsq_model.layers.frames import attend_in_frames, per_frame


class Conv(nn.Module):
    """A convolution in space or in time, causal, after the first frame repeated."""

    def __init__(
        self, channels: int, outputs: int, *, time: int = 1, space: int = 1, stride: int = 1, pad: int = 0
    ) -> None:
        super().__init__()
        strides = (stride, 1, 1) if time > 1 else (1, stride, stride)
        self.conv3d = nn.Conv3d(
            channels, outputs, (time, space, space), stride=strides, padding=(0, pad, pad)
        )
        self._num_before = time - stride if time > 1 else 0

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the convolved frames."""
        if self._num_before:
            x_BCTHW = after_past(self, x_BCTHW, self._num_before, "first", past)
        return self.conv3d(x_BCTHW)


class ConvPair(nn.ModuleList):
    """A 3×3 convolution in space, then one over 3 frames."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__([Conv(channels, outputs, space=3, pad=1), Conv(outputs, outputs, time=3)])

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return [B, outputs, T, H, W]."""
        return self[1](self[0](x_BCTHW), past)


class FrameNorm(nn.Module):
    """Normalises each frame over all channels and positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        return per_frame(self.norm, x_BCTHW)


def norm_silu(norm: FrameNorm, x_BCTHW: Tensor) -> Tensor:
    """Normalise, then SiLU."""
    return functional.silu(norm(x_BCTHW))


class ResidualBlock(nn.Module):
    """A residual block of two pairs of convolutions."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = FrameNorm(channels)
        self.conv1 = ConvPair(channels, outputs)
        self.norm2 = FrameNorm(outputs)
        self.conv2 = ConvPair(outputs, outputs)
        self.nin_shortcut = Conv(channels, outputs) if channels != outputs else nn.Identity()

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return [B, outputs, T, H, W]."""
        inner = self.conv1(norm_silu(self.norm1, x_BCTHW), past)
        return self.nin_shortcut(x_BCTHW) + self.conv2(norm_silu(self.norm2, inner), past)


class _Projections(nn.Module):
    """What both kinds of attention have: one head, and no weight besides these."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = FrameNorm(channels)
        self.q = Conv(channels, channels)
        self.k = Conv(channels, channels)
        self.v = Conv(channels, channels)
        self.proj_out = Conv(channels, channels)


class SpatialAttention(_Projections):
    """Residual attention within each frame."""

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_BCTHW)
        return x_BCTHW + self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed)))


class TemporalAttention(_Projections):
    """Residual attention at each position to it in this and all earlier frames."""

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape; ``past`` holds the keys and values of all earlier frames."""
        normed = self.norm(x_BCTHW)
        keys_values = torch.cat((self.k(normed), self.v(normed)), dim=1)
        if past is not None:
            if self in past:
                keys_values = torch.cat((past[self], keys_values), dim=2)
            past[self] = keys_values
        # B H W T C
        q, k, v = (x.permute(0, 3, 4, 2, 1) for x in (self.q(normed), *keys_values.chunk(2, dim=1)))
        num_new, num_all = q.shape[3], k.shape[3]
        mask_nm = torch.ones(num_new, num_all, dtype=torch.bool, device=q.device).tril(num_all - num_new)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_nm)
        return x_BCTHW + self.proj_out(attended.permute(0, 4, 3, 1, 2))


class Attention(nn.ModuleList):
    """Attention in space, then in time."""

    def __init__(self, channels: int) -> None:
        super().__init__([SpatialAttention(channels), TemporalAttention(channels)])

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        return self[1](self[0](x_BCTHW), past)


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_BCTHW, past), past), past)
