"""VidTok's changes of resolution in space and time; attributes have the names that published weights have.

Of version 1.1, which repeats a clip's first frame before it, all frames that the lead frame stands for are
the same at every level: one is computed. Axes: T frames of a chunk, H and W positions, C channels.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past, TimePad, conv3d


class TemporalDownsample(nn.Module):
    """Halves the number of frames: a learned mean of an average and a convolution over 3 frames."""

    def __init__(self, channels: int, pad: TimePad) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, pad)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [T/2, H, W, C] of an even T, and a lead frame of one."""
        kept_1HWC = past.frames(self, x_THWC, 1)
        padded = past.before(kept_1HWC, x_THWC, self.conv.pad, repeat=len(x_THWC) % 2)
        average = (padded[:-2:2] + padded[1:-1:2]).add_(padded[2::2]).div_(3)
        return _mixed(average, conv3d(padded, self.conv.conv, stride=2), self.mix_factor)


class TemporalUpsample(nn.Module):
    """Doubles the number of frames: repeated (version 1.0), or interpolated linearly (1.1).

    The published code interpolates the lead frame's latent apart from the others.
    """

    def __init__(self, channels: int, pad: TimePad, *, interpolates: bool) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, pad)
        self.mix_factor = nn.Parameter(torch.zeros(1))
        self._interpolates = interpolates

    def forward(self, x_THWC: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return 2·T frames.

        Interpolated ones look a frame ahead: one is held back until the next call, or comes with those of the
        last one; a lead frame stays one.
        """
        doubled = self._doubled(x_THWC, past, is_end=is_end)
        return _mixed(doubled, self.conv(doubled, past), self.mix_factor)

    def _doubled(self, x_THWC: Tensor, past: Past, *, is_end: bool) -> Tensor:
        if not self._interpolates:
            return x_THWC.repeat_interleave(2, dim=0)
        if past.is_start:
            return x_THWC
        before = past.kept.get(self)
        past.kept[self] = x_THWC[-1:].clone()
        frames = x_THWC if before is None else torch.cat((before, x_THWC))
        one, other = frames[:-1], frames[1:]
        # Of each frame and the next, those at a quarter and three quarters of the way.
        between = torch.stack((0.75 * one + 0.25 * other, 0.25 * one + 0.75 * other), dim=1).flatten(0, 1)
        first, last = x_THWC[: before is None], x_THWC[len(x_THWC) - is_end :]
        return torch.cat((first, between, last))


def _mixed(smooth: Tensor, convolved: Tensor, mix_factor: Tensor) -> Tensor:
    return torch.lerp(convolved, smooth, torch.sigmoid(mix_factor))
