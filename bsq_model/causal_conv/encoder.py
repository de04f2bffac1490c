"""The encoder: pixels to latents, a row of tokens for a lead frame and for each s later ones.

Axes: B clips, T frames, H and W pixels, C = 3 colours, s frames of a row, n rows of all clips, h and w tokens
of a row, D latents of a token.
"""

from torch import Tensor, nn

from bitmill.bsq_model.causal_conv.blocks import SpaceConv, Stack, blocks_of
from bitmill.bsq_model.causal_conv.neighbours import Neighbours
from bitmill.bsq_model.causal_conv.wavelet import cells_of_pixels
from bitmill.bsq_model.layers.backbone import LatentProjection
from bitmill.schemas.models.causal_conv_config import CELL_PX, CausalConvConfig


class CausalConvEncoder(Stack):
    """Encodes rows of pixels to latents."""

    def __init__(self, config: CausalConvConfig) -> None:
        super().__init__()
        sizes, self._frames_per_row = config.encoder, config.frames_per_token
        self.embed = SpaceConv(3 * CELL_PX**2 * self._frames_per_row, sizes.widths[0])
        for level, width in enumerate(sizes.widths):
            if level:
                self.blocks.append(SpaceConv(sizes.widths[level - 1], width, 2, stride=2))
            self.blocks.extend(blocks_of(sizes, level))
        self.norm_out = nn.LayerNorm(sizes.widths[-1])
        self.head = LatentProjection(sizes.widths[-1], config.code.dimensions)

    def forward(self, rows_nsHWC: Tensor, time: Neighbours) -> Tensor:
        """Return latents [n, h, w, D], float32, of rows of frames [n, s, H, W, C]."""
        cells = cells_of_pixels(rows_nsHWC, self._frames_per_row)[:, 0]
        return self.head(self.norm_out(self.run_blocks(self.embed(cells), time)))
