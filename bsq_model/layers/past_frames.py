"""Convolutions that look back in time and never ahead, over one clip chunk by chunk.

Axes: T frames of a chunk, b frames before it, H and W positions, P = H·W, n of these positions, C input and E
output channels.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.acceleration.workspace import empty_as
from bitmill.bsq_model.layers.products import product

TimePad = Literal["zeros", "first"]
"""What precedes a clip: zeros, or its first frame repeated."""


def exact_convolutions() -> AbstractContextManager[None]:
    """Return a context in which cuDNN computes in all of float32 and chooses the same algorithm each time.

    By default it rounds float32 to TF32's 10 bits.
    """
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


class Past:
    """What the modules of a network keep of a clip's earlier chunks."""

    def __init__(self) -> None:
        self.is_start = True
        """Whether no chunk has been passed through the whole network."""
        self.kept: dict[nn.Module, Tensor] = {}
        """By module: the last frames of its input, or what else it needs."""
        self._inputs: dict[int, Past] = {}

    def of_input(self, number: int) -> "Past":
        """Return what is kept of one of several inputs that pass through the same modules."""
        part = self._inputs.setdefault(number, Past())
        part.is_start = self.is_start
        return part

    def frames(self, module: nn.Module, like_THWC: Tensor, num_frames: int) -> Tensor:
        """Return the memory [b, H, W, C] of the module's last ``num_frames``, of no use at the start."""
        if self.is_start:
            self.kept[module] = empty_as(like_THWC, (num_frames, *like_THWC.shape[1:]))
        return self.kept[module]

    def before(self, kept_bX: Tensor, x_TX: Tensor, pad: TimePad, *, repeat: int = 0) -> Tensor:
        """Return the frames [b + T, ...] with those kept in front, and keep the last b of these.

        At the start, the ``pad`` is in front, ``repeat`` frames more of it.
        """
        front = _padding(x_TX, len(kept_bX) + repeat, pad) if self.is_start else kept_bX
        whole = torch.cat((front, x_TX))
        kept_bX.copy_(whole[-len(kept_bX) :])
        return whole


def _padding(x_TX: Tensor, num_frames: int, pad: TimePad) -> Tensor:
    first = x_TX[:1].expand(num_frames, *x_TX.shape[1:])
    return torch.zeros_like(first) if pad == "zeros" else first


class CausalConv3d(nn.Module):
    """A convolution, usually 3×3×3: causal in time, after two frames of ``pad``; zeros around each frame."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        pad: TimePad,
        *,
        size: tuple[int, int, int] = (3, 3, 3),
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.pad: TimePad = pad
        self.conv = nn.Conv3d(channels, outputs, size)
        self._stride = stride

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T / stride, H, W, E]."""
        kept_bHWC = past.frames(self, x_THWC, 2)
        return conv3d(past.before(kept_bHWC, x_THWC, self.pad), self.conv, stride=self._stride)


def conv3d(x_THWC: Tensor, conv: nn.Conv3d, *, stride: int = 1) -> Tensor:
    """Return the k×3×3 or k×1×1 convolution of frames with some before them, as k over single frames.

    [T − k + 1, H, W, E]; with stride 2, every second one of these.
    """
    x_TCHW, num_outputs = x_THWC.permute(0, 3, 1, 2), len(x_THWC) - conv.kernel_size[0] + 1
    first, *later = conv.weight.unbind(2)
    pad = conv.kernel_size[1] // 2
    y_TEHW = functional.conv2d(x_TCHW[:num_outputs:stride], first, conv.bias, padding=pad)
    for tap, weight_ECxx in enumerate(later, start=1):
        y_TEHW += functional.conv2d(x_TCHW[tap : tap + num_outputs : stride], weight_ECxx, padding=pad)
    return y_TEHW.permute(0, 2, 3, 1).contiguous()


class Taps:
    """A convolution over 3 frames at each position, as three products."""

    def __init__(self, weight_EC3x: Tensor, bias_E: Tensor | None) -> None:
        weight_EC3 = weight_EC3x.flatten(2)
        self._weights: Sequence[Tensor] = [tap_EC.contiguous() for tap_EC in weight_EC3.unbind(2)]
        self._bias = bias_E

    def __call__(self, x_TnC: Tensor, *, stride: int = 1) -> Tensor:
        """Return [T − 2, n, E] of frames with two before them; with stride 2, every second one of these."""
        num_outputs = len(x_TnC) - 2
        y_TnE = product(x_TnC[:num_outputs:stride], self._weights[0], self._bias)
        for tap in (1, 2):
            y_TnE += product(x_TnC[tap : tap + num_outputs : stride], self._weights[tap])
        return y_TnE
