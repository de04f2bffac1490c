"""The discriminator of originals and reconstructions: StyleGAN2's residual network; for training only.

Karras et al., arXiv 1912.04958, section 4.1 and appendix B. Weights are not rescaled at run time
("equalized"), which suits StyleGAN2's far higher learning rate.

Axes: B pictures, H and W pixels or cells, C = 3 colours, F features.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.2
_LAST_SIDE = 4
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
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
