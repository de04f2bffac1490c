"""Changes of resolution of Cosmos DV; attributes have the names that published weights have.

Published files also have the convolutions of the directions that a level does not change; nothing uses them.

Axes: T frames of a chunk, H and W positions, C channels.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import SpaceConv, TimeConv
from bitmill.bsq_model.layers.frames import conv_of_doubled, halved_by_conv
from bitmill.bsq_model.layers.past_frames import Past, Taps


class Downsample(nn.Module):
    """Halves space, time, or both: each a convolution plus an average."""

    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = SpaceConv(channels, channels, 3) if space else None
        self.conv2 = TimeConv(channels) if time else None
        self.conv3 = SpaceConv(channels, channels)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T/2, H/2, W/2, C] where both are halved; one frame of the lead frame."""
        x = x_THWC
        if self.conv1 is not None:
            x = halved_by_conv(x, self.conv1.conv3d).add_(_mean_of_squares(x))
        if self.conv2 is not None:
            x = _halved_in_time(torch.cat((x, x)) if past.is_start else x, self.conv2, past)
        return self.conv3(x)


class Upsample(nn.Module):
    """Doubles time, space, or both: frames and positions repeated, plus their convolution."""

    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = TimeConv(channels) if time else None
        self.conv2 = SpaceConv(channels, channels, 3) if space else None
        self.conv3 = SpaceConv(channels, channels)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [2·T, 2·H, 2·W, C] where both are doubled; one frame of the lead frame."""
        x = x_THWC
        if self.conv1 is not None:
            x = x if past.is_start else x.repeat_interleave(2, dim=0)
            x = self.conv1(x.clone(), past).add_(x)
        if self.conv2 is not None:
            x = _add_doubled(conv_of_doubled(x, self.conv2.conv3d), x)
        return self.conv3(x)


def _mean_of_squares(x_THWC: Tensor) -> Tensor:
    """The mean of each 2×2 positions."""
    height, width = x_THWC.shape[1:3]
    return x_THWC.unflatten(2, (width // 2, 2)).unflatten(1, (height // 2, 2)).mean((2, 4))


def _halved_in_time(x_THWC: Tensor, conv: TimeConv, past: Past) -> Tensor:
    padded = past.before(past.frames(conv, x_THWC, 1), x_THWC, "first")
    taps = Taps(conv.conv3d.weight, conv.conv3d.bias)
    return taps(padded, stride=2).add_(x_THWC[::2] + x_THWC[1::2], alpha=0.5)


def _add_doubled(out_THWC: Tensor, x_THWC: Tensor) -> Tensor:
    """Add each position to the four that it is repeated to."""
    height, width = x_THWC.shape[1:3]
    # T H 2 W 2 C
    out_THWC.unflatten(2, (width, 2)).unflatten(1, (height, 2)).add_(x_THWC[:, :, None, :, None])
    return out_THWC
