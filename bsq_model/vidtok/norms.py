"""VidTok's norms; attributes have the names that published weights have.

Axes: R rows of a frame, or T frames, C channels, M samples of a group norm; ``x`` and X any others.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.frames import normed_frames
from bitmill.bsq_model.layers.products import pieces
from bitmill.schemas.models.vidtok_config import NORM_GROUPS, Norm


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position."""

    needs_frames = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x_xC: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        return self.norm(x_xC)

    def silu_into(self, x_RX: Tensor, out_RX: Tensor) -> Tensor:
        """Normalise, then SiLU, into memory that may be the input's; return it."""
        for rows in pieces(len(x_RX), x_RX, x_RX[0].numel()):
            torch.ops.aten.silu.out(self.norm(x_RX[rows]), out=out_RX[rows])
        return out_RX


class _GroupNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def _normed(self, x_MCx: Tensor) -> Tensor:
        return functional.group_norm(x_MCx, NORM_GROUPS, self.weight, self.bias, eps=1e-6)


class FrameGroupNorm(_GroupNorm):
    """Norm over groups of channels of each frame."""

    needs_frames = True

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        return normed_frames(self._normed, x_THWC, NORM_GROUPS)

    def silu_into(self, x_xHWC: Tensor, out_xHWC: Tensor) -> Tensor:
        """Normalise one frame or several, then SiLU, into memory that may be the input's; return it."""
        frames = x_xHWC[None] if x_xHWC.ndim == 3 else x_xHWC
        return out_xHWC.copy_(functional.silu(self(frames), inplace=True).view(x_xHWC.shape))


class PositionGroupNorm(_GroupNorm):
    """Norm over groups of channels of each position."""

    def forward(self, x_xC: Tensor) -> Tensor:
        """Return the same shape, in other memory."""
        return self._normed(x_xC.reshape(-1, x_xC.shape[-1])).view(x_xC.shape)


def frame_norm(channels: int, norm: Norm) -> ChannelNorm | FrameGroupNorm:
    """Return the norm of all blocks but the temporal ones."""
    return ChannelNorm(channels) if norm == "layer" else FrameGroupNorm(channels)


def temporal_norm(channels: int, norm: Norm) -> ChannelNorm | PositionGroupNorm:
    """Return the norm of the blocks across frames: the published code normalises each position alone."""
    return ChannelNorm(channels) if norm == "layer" else PositionGroupNorm(channels)
