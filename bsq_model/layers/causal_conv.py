"""Convolutions that look back in time and never ahead, over a whole clip or chunk by chunk.

Axes: B clips, C channels, T frames, H and W pixels.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

TimePad = Literal["zeros", "first"]
"""What precedes a clip: zeros, or its first frame repeated."""

Past = dict[nn.Module, Tensor]
"""The last input frames of each module of a network that streams a clip; empty before its first chunk."""


def exact_convolutions() -> AbstractContextManager[None]:
    """Return a context in which cuDNN computes in all of float32 and chooses the same algorithm each time.

    By default it rounds float32 to TF32's 10 bits.
    """
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def after_past(
    module: nn.Module, x_BCTHW: Tensor, num_frames: int, pad: TimePad, past: Past | None
) -> Tensor:
    """Return the frames with the ``num_frames`` that precede them in front.

    These are what ``past`` holds of ``module``; at the start of a clip, or without a ``past``, the ``pad``.
    ``past`` then holds the last ``num_frames``.
    """
    before = None if past is None else past.get(module)
    if before is None:
        first = x_BCTHW[:, :, :1].expand(-1, -1, num_frames, -1, -1)
        before = torch.zeros_like(first) if pad == "zeros" else first
    whole = torch.cat((before, x_BCTHW), dim=2)
    if past is not None:
        past[module] = whole[:, :, -num_frames:].clone()
    return whole


class CausalConv3d(nn.Module):
    """A 3×3×3 convolution of the same size: causal in time, zeros around each frame."""

    def __init__(self, channels: int, outputs: int, pad: TimePad, *, time_stride: Literal[1, 2] = 1) -> None:
        super().__init__()
        self.pad: TimePad = pad
        self.conv = nn.Conv3d(channels, outputs, 3, stride=(time_stride, 1, 1), padding=(0, 1, 1))
        self._num_before = 3 - time_stride

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return T frames; with ``time_stride`` 2, T/2 of an even T."""
        return self.conv(after_past(self, x_BCTHW, self._num_before, self.pad, past))


class CausalConv1d(nn.Module):
    """A causal convolution over 3 frames, at each position separately."""

    def __init__(self, channels: int, pad: TimePad) -> None:
        super().__init__()
        self.pad: TimePad = pad
        self.conv = nn.Conv1d(channels, channels, 3)

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the same shape."""
        padded = after_past(self, x_BCTHW, 2, self.pad, past)
        return functional.conv3d(padded, self.conv.weight[..., None, None], self.conv.bias)
