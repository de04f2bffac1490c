"""The discriminators of originals and reconstructions: StyleGAN2's residual network; for training only.

Karras et al., arXiv 1912.04958, section 4.1 and appendix B. Weights are not rescaled at run time
("equalized"), which suits StyleGAN2's far higher learning rate.

Axes: B pictures or clips, T frames, H and W pixels or cells, C = 3 colours, F features.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.2
_LAST_SIDE = 4
_CLIP_HALVINGS = 4
_GROUP = 4
"""Most pictures in a group of the minibatch statistics."""


class Discriminator(nn.Module):
    """Maps square pictures to one logit each, high for originals.

    ``base_channels`` features at full size, doubled at each halving up to ``max_channels``. Any side of at
    least 4 pixels works; halves are rounded down.
    """

    def __init__(self, image_size_px: int, *, base_channels: int = 32, max_channels: int = 512) -> None:
        super().__init__()
        if image_size_px < _LAST_SIDE:
            raise ValueError(f"the discriminator needs frames of {_LAST_SIDE} pixels or more")
        channels, side = min(base_channels, max_channels), image_size_px
        self.entry = nn.Conv2d(3, channels, 1)
        blocks: list[nn.Module] = []
        while side > _LAST_SIDE:
            wider = min(2 * channels, max_channels)
            blocks.append(_Block(channels, wider))
            channels, side = wider, side // 2
        self.blocks = nn.Sequential(*blocks)
        self.mix = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.hidden = nn.Linear(channels * side * side, channels)
        self.logit = nn.Linear(channels, 1)
        self.apply(_initialize)

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Map float pixels in [−1, 1], H = W = ``image_size_px``, to logits [B]."""
        x_BFHW = _activate(self.entry(pixels_BHWC.permute(0, 3, 1, 2)))
        x_BFHW = with_minibatch_deviation(self.blocks(x_BFHW))
        x_BF = _activate(self.hidden(_activate(self.mix(x_BFHW)).flatten(1)))
        return self.logit(x_BF)[:, 0]


class ClipDiscriminator(nn.Module):
    """Maps clips of any size of at least 16 pixels to a logit per frame; it compares a frame with the two
    beside it, and an image with nothing.

    ``base_channels`` features at full size, doubled at each of four halvings up to ``max_channels``.
    """

    def __init__(self, *, base_channels: int = 32, max_channels: int = 512) -> None:
        super().__init__()
        widths = [min(base_channels << level, max_channels) for level in range(_CLIP_HALVINGS + 1)]
        self.entry = nn.Conv2d(3, widths[0], 1)
        self.blocks = nn.ModuleList(_Block(*pair) for pair in pairwise(widths))
        self.times = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for width in widths[1:])
        self.mix = nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1)
        self.hidden = nn.Linear(widths[-1], widths[-1])
        self.logit = nn.Linear(widths[-1], 1)
        self.apply(_initialize)

    def forward(self, pixels_BTHWC: Tensor) -> Tensor:
        """Map float pixels in [−1, 1] to logits [B, T]."""
        shape_BT = pixels_BTHWC.shape[:2]
        x_nFHW = _activate(self.entry(pixels_BTHWC.flatten(0, 1).permute(0, 3, 1, 2)))
        for block, time in zip(self.blocks, self.times, strict=True):
            x_nFHW = block(x_nFHW)
            x_nFHW = (x_nFHW + _activate(_over_time(time, x_nFHW.unflatten(0, shape_BT)))) * 0.5**0.5
        x_nFHW = _activate(self.mix(with_minibatch_deviation(x_nFHW)))
        return self.logit(_activate(self.hidden(x_nFHW.mean((2, 3)))))[:, 0].unflatten(0, shape_BT)


def _over_time(time: nn.Module, x_BTFHW: Tensor) -> Tensor:
    """Return a convolution over time at each position: [B·T, F, H, W]."""
    num_clips, num_frames, features, height, width = x_BTFHW.shape
    x_BHWFT = x_BTFHW.permute(0, 3, 4, 2, 1)
    y_BHWFT = time(x_BHWFT.reshape(-1, features, num_frames)).view(num_clips, height, width, -1, num_frames)
    return y_BHWFT.permute(0, 4, 3, 1, 2).flatten(0, 1)


class _Block(nn.Module):
    """Two convolutions and a skip; both paths halve the sides after a blur that avoids aliasing."""

    def __init__(self, channels: int, wider: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, wider, 3, stride=2)
        self.skip = nn.Conv2d(channels, wider, 1, bias=False)
        kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", kernel[:, None] * kernel[None], persistent=False)

    def forward(self, x_BFHW: Tensor) -> Tensor:
        """Map [B, F, H, W] to [B, F', H//2, W//2]."""
        inner = self._blur(_activate(self.first(x_BFHW)), padding=2, stride=1)
        skipped = self.skip(self._blur(x_BFHW, padding=1, stride=2))
        return (_activate(self.second(inner)) + skipped) * 0.5**0.5

    def _blur(self, x_BFHW: Tensor, padding: int, stride: int) -> Tensor:
        channels = x_BFHW.shape[1]
        kernel = cast(Tensor, self.kernel).to(x_BFHW.dtype).expand(channels, 1, -1, -1)
        return functional.conv2d(x_BFHW, kernel, stride=stride, padding=padding, groups=channels)


def with_minibatch_deviation(x_BFHW: Tensor) -> Tensor:
    """Append one feature, the mean deviation within a group of pictures, which exposes a lack of variety.

    Groups are strided across the batch, so that neighbours (frames of one clip) are not compared.
    """
    batch = x_BFHW.shape[0]
    group = max(size for size in range(1, min(_GROUP, batch) + 1) if batch % size == 0)
    with torch.autocast(x_BFHW.device.type, enabled=False):
        variance = x_BFHW.float().unflatten(0, (group, -1)).var(0, correction=0)
        spread_M = (variance + 1e-8).sqrt().flatten(1).mean(1)
    spread_B1HW = spread_M.repeat(group)[:, None, None, None].expand(-1, 1, *x_BFHW.shape[2:])
    return torch.cat((x_BFHW, spread_B1HW.to(x_BFHW.dtype)), dim=1)


def _activate(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
