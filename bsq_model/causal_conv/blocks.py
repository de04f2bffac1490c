"""Layers that encoder and decoder share; every position is normalised by itself, so that frames of all sizes
are alike to them.

Axes: n rows or frames, H and W positions, C input and E output channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bitmill.bsq_model.causal_conv.neighbours import Neighbours
from bitmill.bsq_model.layers.backbone import Network
from bitmill.schemas.models.causal_conv_config import LevelsConfig


class SpaceConv(nn.Module):
    """A convolution within each frame, of channels that are the last axis."""

    def __init__(self, channels: int, outputs: int, size: int = 3, *, stride: int = 1) -> None:
        super().__init__()
        self._kernel = (outputs, size, size, channels)
        self._stride, self._pad = stride, (size - stride) // 2
        # A matrix: so its memory has the order in which convolutions read it, and Muon takes it.
        self.weight = nn.Parameter(torch.zeros(outputs, size * size * channels))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_nHWC: Tensor) -> Tensor:
        """Return [n, H, W, E], zeros around each frame; H and W divided by the stride."""
        weight_ECkk = self.weight.view(self._kernel).permute(0, 3, 1, 2)
        x_nCHW = x_nHWC.permute(0, 3, 1, 2)
        y_nEHW = functional.conv2d(x_nCHW, weight_ECkk, self.bias, stride=self._stride, padding=self._pad)
        return y_nEHW.permute(0, 2, 3, 1)


class Block(nn.Module):
    """``x + conv(silu(conv(norm(x)) + earlier(norm(rows before x))))``: 3×3 in space, 3 rows in time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv_1 = SpaceConv(channels, channels)
        self.earlier = nn.Linear(2 * channels, channels, bias=False)
        self.conv_2 = SpaceConv(channels, channels)

    def forward(self, x_nHWC: Tensor, time: Neighbours) -> Tensor:
        """Return the same shape."""
        normed = self.norm(x_nHWC)
        inner = self.conv_1(normed)
        neighbours = time.of(self, normed)
        if neighbours is not None:
            inner = inner + self.earlier(neighbours)
        return x_nHWC + self.conv_2(functional.silu(inner))


class Stack(Network):
    """Base of encoder and decoder: layers in order, of which ``Block``s see time."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()

    def run_blocks(self, x_nHWC: Tensor, time: Neighbours) -> Tensor:
        """Run ``blocks`` in order."""
        for block in self.blocks:
            if not isinstance(block, Block):
                x_nHWC = block(x_nHWC)
            elif self.checkpoint_blocks and torch.is_grad_enabled():
                x_nHWC = checkpoint(block, x_nHWC, time, use_reentrant=False)
            else:
                x_nHWC = block(x_nHWC, time)
        return x_nHWC


class Doubled(nn.Linear):
    """Doubles rows and columns: each position's values become those of its four."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(channels, 4 * outputs)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Linear's name)
        """Return [n, 2·H, 2·W, E] of [n, H, W, C]."""
        x_nHWyxE = super().forward(input).unflatten(-1, (2, 2, -1))
        return x_nHWyxE.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def blocks_of(sizes: LevelsConfig, level: int) -> list[Block]:
    """Return a level's blocks."""
    return [Block(sizes.widths[level]) for _ in range(sizes.blocks[level])]
