"""Changes of resolution of Cosmos DV; attributes have the names that published weights have.

Published files also have the convolutions of the directions that a level does not change; nothing uses them.

Axes: B clips, C channels, T frames, M = B·T, H and W positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.cosmos.blocks import Conv
from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.bsq_model.layers.frames import per_frame


class Downsample(nn.Module):
    """Halves space, time, or both: each a convolution plus an average."""

    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, space=3, stride=2) if space else None
        self.conv2 = Conv(channels, channels, time=3, stride=2) if time else None
        self.conv3 = Conv(channels, channels)

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return [B, C, 1 + (T − 1)/2, H/2, W/2] where both are halved; of later chunks, T/2 frames."""
        x = x_BCTHW
        if self.conv1 is not None:
            x = self.conv1(functional.pad(x, (0, 1, 0, 1))) + functional.avg_pool3d(x, (1, 2, 2))
        if self.conv2 is not None:
            if past is None or self.conv2 not in past:
                x = torch.cat((x[:, :, :1], x), dim=2)
            x = self.conv2(x, past) + functional.avg_pool3d(x, (2, 1, 1))
        return self.conv3(x)


class Upsample(nn.Module):
    """Doubles time, space, or both: frames and positions repeated, plus their convolution."""

    def __init__(self, channels: int, *, space: bool, time: bool) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, time=3) if time else None
        self.conv2 = Conv(channels, channels, space=3, pad=1) if space else None
        self.conv3 = Conv(channels, channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return [B, C, 1 + 2·(T − 1), 2·H, 2·W] where both are doubled."""
        x = x_BCTHW
        if self.conv1 is not None:
            x = x.repeat_interleave(2, dim=2)[:, :, 1:]
            x = x + self.conv1(x)
        if self.conv2 is not None:
            x = per_frame(_doubled, x)
            x = x + self.conv2(x)
        return self.conv3(x)


def _doubled(x_MCHW: Tensor) -> Tensor:
    return functional.interpolate(x_MCHW, scale_factor=2.0, mode="nearest")
