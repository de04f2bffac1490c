"""The decoder: codes to pixels, row by row, then frame by frame.

Axes: n rows, f frames, h and w tokens of a row, D values of a code, H and W positions of level 0, s frames of
a row, F channels of a frame, C = 3 colours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.causal_conv.blocks import Block, Doubled, SpaceConv, Stack, blocks_of
from bitmill.bsq_model.causal_conv.neighbours import Neighbours
from bitmill.schemas.models.causal_conv_config import CELL_PX, CausalConvConfig

_FADE = torch.sin(torch.pi * (torch.arange(2 * CELL_PX) + 0.5) / (2 * CELL_PX)) ** 2
"""Of a cell's rows and columns; with those of the next cell, half of it later, it adds up to one."""


class CausalConvDecoder(Stack):
    """Decodes rows of codes to rows of frames, and these to pixels."""

    def __init__(self, config: CausalConvConfig) -> None:
        super().__init__()
        sizes, self._frames_per_row = config.decoder, config.frames_per_token
        deepest = len(sizes.widths) - 1
        self.embed = SpaceConv(config.code.dimensions, sizes.widths[deepest])
        for level in range(deepest, -1, -1):
            if level < deepest:
                self.blocks.append(Doubled(sizes.widths[level + 1], sizes.widths[level]))
            self.blocks.extend(blocks_of(sizes, level))
        self.to_frames = nn.Linear(sizes.widths[0], self._frames_per_row * config.frame_width)
        self.frame_block = Block(config.frame_width)
        self.head = OverlappingCells(config.frame_width)

    def rows(self, codes_nhwD: Tensor, time: Neighbours) -> Tensor:
        """Return the frames that rows of codes stand for, before ``frames``: [n, s, H, W, F]."""
        x_nHWC = self.run_blocks(self.embed(codes_nhwD), time)
        return self.to_frames(x_nHWC).unflatten(-1, (self._frames_per_row, -1)).movedim(-2, 1)

    def frames(self, x_fHWF: Tensor, time: Neighbours) -> Tensor:
        """Return pixels [f, 4·H, 4·W, C], about −1 to 1, not clamped; ``time`` is that of frames."""
        return self.head(self.frame_block(x_fHWF, time))


class OverlappingCells(nn.Module):
    """Each position makes 8×8 pixels around its own 4×4, which fade out at their borders and are added up.

    So neighbours overlap by half, and no edge of a cell can show. At the frame's border, its outermost
    positions stand for those beyond.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, 3 * (2 * CELL_PX) ** 2)

    def forward(self, x_fHWF: Tensor) -> Tensor:
        """Return pixels [f, 4·H, 4·W, C]."""
        values = self.head(functional.silu(self.norm(x_fHWF)))
        # f C·8·8 H W
        bordered = functional.pad(values.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
        x = bordered.permute(0, 2, 3, 1).unflatten(-1, (2 * CELL_PX, 2 * CELL_PX, 3))
        fade = _FADE.to(x)
        x = x * (fade[:, None, None] * fade[:, None])
        x = x[:, 1:, :, :CELL_PX] + x[:, :-1, :, CELL_PX:]
        x = x[:, :, 1:, :, :CELL_PX] + x[:, :, :-1, :, CELL_PX:]
        # f H+1 W+1 4 4 C, which begin half a cell before the frame.
        pixels = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        half = CELL_PX // 2
        return pixels[:, half:-half, half:-half]
