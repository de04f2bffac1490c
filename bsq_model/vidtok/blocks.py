"""VidTok's residual blocks and attention; attributes have the names that published weights have.

Blocks may overwrite their input. Axes: T frames of a chunk, H and W positions, P = H·W, n of these positions,
R any rows, C channels, E output channels.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.acceleration.workspace import empty_as
from bitmill.bsq_model.layers.frames import (
    attend_in_frames,
    conv_frames,
    convolved_bands,
    frame_with_border,
)
from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past, Taps, TimePad
from bitmill.bsq_model.layers.products import pieces
from bitmill.bsq_model.vidtok.norms import frame_norm, temporal_norm
from bitmill.schemas.models.vidtok_config import Norm


class FrameBlock(nn.Module):
    """A residual block of 3×3 convolutions over each frame."""

    def __init__(self, channels: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = frame_norm(channels, norm)
        self.conv1 = nn.Conv2d(channels, outputs, 3)
        self.norm2 = frame_norm(outputs, norm)
        self.conv2 = nn.Conv2d(outputs, outputs, 3)
        self.nin_shortcut = nn.Conv2d(channels, outputs, 1) if channels != outputs else None

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, H, W, E]."""
        channels, outputs = x_THWC.shape[-1], self.conv2.out_channels
        bordered_HWC = frame_with_border(x_THWC[0], channels)
        inner_HWE = frame_with_border(x_THWC[0], outputs)
        out_THWE = x_THWC
        if self.nin_shortcut is not None:
            out_THWE = empty_as(x_THWC, (*x_THWC.shape[:3], outputs))
        for x_HWC, out_HWE in zip(x_THWC, out_THWE, strict=True):
            self.norm1.silu_into(x_HWC, bordered_HWC[1:-1])
            self._normed_conv1(bordered_HWC, inner_HWE[1:-1])
            for rows, y_HWE in convolved_bands(inner_HWE, self.conv2):
                torch.add(self._shortcut(x_HWC[rows]), y_HWE, out=out_HWE[rows])
        return out_THWE

    def _normed_conv1(self, bordered_HWC: Tensor, out_HWE: Tensor) -> None:
        for rows, y_HWE in convolved_bands(bordered_HWC, self.conv1):
            if self.norm2.needs_frames:
                out_HWE[rows] = y_HWE
            else:
                self.norm2.silu_into(y_HWE, out_HWE[rows])
        if self.norm2.needs_frames:
            self.norm2.silu_into(out_HWE, out_HWE)

    def _shortcut(self, x_HWC: Tensor) -> Tensor:
        return x_HWC if self.nin_shortcut is None else conv_frames(x_HWC, self.nin_shortcut)


class TemporalBlock(nn.Module):
    """A residual block of two causal convolutions over 3 frames, at each position separately."""

    def __init__(self, channels: int, pad: TimePad, norm: Norm) -> None:
        super().__init__()
        self.norm1 = temporal_norm(channels, norm)
        self.conv1 = OverFrames(channels)
        self.norm2 = temporal_norm(channels, norm)
        self.conv2 = OverFrames(channels)
        self._pad: TimePad = pad

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        layers = [
            (norm, Taps(over.conv.weight, over.conv.bias), past.frames(over, x_THWC, 2).flatten(1, 2))
            for norm, over in ((self.norm1, self.conv1), (self.norm2, self.conv2))
        ]
        x_TPC = x_THWC.flatten(1, 2)
        num_frames, num_positions, channels = x_TPC.shape
        # All layers of a few positions, while these are in the cache.
        for positions in pieces(num_positions, x_TPC, num_frames * channels):
            y_TnC = x_TPC[:, positions]
            for norm, taps, kept_2PC in layers:
                normed_TnC = torch.ops.aten.silu_(norm(y_TnC))
                y_TnC = taps(past.before(kept_2PC[:, positions], normed_TnC, self._pad))
            x_TPC[:, positions] += y_TnC
        return x_THWC


class OverFrames(nn.Module):
    """The weights of a convolution over 3 frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3)


class MiddleBlock(nn.Module):
    """A residual block of two causal 3×3×3 convolutions."""

    def __init__(self, channels: int, pad: TimePad, norm: Norm) -> None:
        super().__init__()
        self.norm1 = frame_norm(channels, norm)
        self.conv1 = CausalConv3d(channels, channels, pad)
        self.norm2 = frame_norm(channels, norm)
        self.conv2 = CausalConv3d(channels, channels, pad)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        inner = self.conv1(self.norm1.silu_into(x_THWC, torch.empty_like(x_THWC)), past)
        return self.conv2(self.norm2.silu_into(inner, inner), past).add_(x_THWC)


class PointwiseConv(nn.Module):
    """A 1×1×1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 1)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape."""
        return conv_frames(x_THWC, self.conv)


class FrameAttention(nn.Module):
    """Residual attention within each frame, with one head."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = frame_norm(channels, norm)
        self.q = PointwiseConv(channels)
        self.k = PointwiseConv(channels)
        self.v = PointwiseConv(channels)
        self.proj_out = PointwiseConv(channels)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_THWC)
        return self.proj_out(attend_in_frames(self.q(normed), self.k(normed), self.v(normed))).add_(x_THWC)


class Middle(nn.Module):
    """The blocks at the lowest resolution."""

    def __init__(self, channels: int, pad: TimePad, norm: Norm) -> None:
        super().__init__()
        self.block_1 = MiddleBlock(channels, pad, norm)
        self.attn_1 = FrameAttention(channels, norm)
        self.block_2 = MiddleBlock(channels, pad, norm)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the same shape."""
        return self.block_2(self.attn_1(self.block_1(x_THWC, past)), past)


def frame_blocks(channels: int, outputs: int, num_blocks: int, norm: Norm) -> nn.ModuleList:
    """Return a level's blocks within frames."""
    return nn.ModuleList(
        FrameBlock(outputs if index else channels, outputs, norm) for index in range(num_blocks)
    )


def temporal_blocks(channels: int, num_blocks: int, pad: TimePad, norm: Norm) -> nn.ModuleList:
    """Return a level's blocks across frames."""
    return nn.ModuleList(TemporalBlock(channels, pad, norm) for _ in range(num_blocks))
