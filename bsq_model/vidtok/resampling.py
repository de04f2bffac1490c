"""VidTok's changes of resolution in space and time; attributes have the names that published weights have.

Axes: B clips, C channels, T frames, M = B·T, H and W pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.layers.causal_conv import CausalConv3d, Past, TimePad, after_past
from bitmill.bsq_model.layers.frames import per_frame


class Downsample(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return [B, C, T, H/2, W/2]."""
        return per_frame(self.conv, functional.pad(x_BCTHW, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return [B, C, T, 2·H, 2·W]."""
        return per_frame(self._upsampled, x_BCTHW)

    def _upsampled(self, x_MCHW: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x_MCHW, scale_factor=2.0, mode="nearest"))


class TemporalDownsample(nn.Module):
    """Halves the number of frames: a learned mean of an average and a convolution over 3 frames."""

    def __init__(self, channels: int, pad: TimePad) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, pad, time_stride=2)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return [B, C, T/2, H, W] of an even T."""
        padded = after_past(self, x_BCTHW, 1, self.conv.pad, past)
        average = functional.avg_pool3d(padded, (3, 1, 1), stride=(2, 1, 1))
        return _mixed(average, self.conv(x_BCTHW, past), self.mix_factor)


class TemporalUpsample(nn.Module):
    """Doubles the number of frames: repeated if ``apart`` is None, else interpolated linearly.

    The first ``apart`` frames, those of the lead frame's latent, are interpolated among themselves, and so
    are the others: the published code has this seam.
    """

    def __init__(self, channels: int, pad: TimePad, apart: int | None) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, pad)
        self.mix_factor = nn.Parameter(torch.zeros(1))
        self._apart = apart

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return [B, C, 2·T, H, W]."""
        doubled = self._doubled(x_BCTHW)
        return _mixed(doubled, self.conv(doubled), self.mix_factor)

    def _doubled(self, x_BCTHW: Tensor) -> Tensor:
        if self._apart is None:
            return x_BCTHW.repeat_interleave(2, dim=2)
        parts = x_BCTHW[:, :, : self._apart], x_BCTHW[:, :, self._apart :]
        return torch.cat([_interpolated(part) for part in parts if part.shape[2]], dim=2)


def _interpolated(x_BCTHW: Tensor) -> Tensor:
    return functional.interpolate(x_BCTHW, scale_factor=(2.0, 1.0, 1.0), mode="trilinear")


def _mixed(smooth: Tensor, convolved: Tensor, mix_factor: Tensor) -> Tensor:
    weight = torch.sigmoid(mix_factor)
    return weight * smooth + (1 - weight) * convolved
