"""Tokenizers of pyramids without weights: residual BSQ of each patch's mean colour.

Axes: T frames, h and w of the full grid, N all tokens of a pyramid, D bits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.residual_bsq import bits_of_latents, sum_of_bits
from bitmill.schemas.ids import content_id
from bitmill.schemas.models.geometry import Code, Geometry, Grid, grid_name

_REACH = 1.5
"""The latent of white."""


def pyramid_geometry(*schedules: Sequence[tuple[int, int]], bits: int = 6, patch_px: int = 8) -> Geometry:
    """Images of bits with these scales, each given as heights and widths, the full one last."""
    return Geometry(
        layout="pyramid",
        patch_px=(patch_px, patch_px),
        max_frames=1,
        schedules={grid_name(*scales[-1]): tuple((1, *scale) for scale in scales) for scales in schedules},
        code=Code.of_bits(bits, "least"),
    )


TRANSPOSED = pyramid_geometry([(1, 1), (1, 2), (2, 4)], [(1, 1), (2, 1), (4, 2)], [(1, 1), (2, 2), (4, 4)])
"""Schedules of which two have the same number of tokens."""


class ColourPyramid:
    """Bit k stands for colour k modulo 3."""

    def __init__(self, geometry: Geometry = TRANSPOSED) -> None:
        self.geometry = geometry
        self.fingerprint = content_id("tokenizer", geometry.model_dump(mode="json"))
        self._colours_D = torch.arange(geometry.code.dimensions) % 3

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "ColourPyramid":
        return self

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [self._encoded(clip_THWC) for clip_THWC in clips]

    def decode_pyramids(self, codes: Sequence[Tensor], grids: Sequence[Grid], /) -> list[Tensor]:
        return [self._decoded(bits_nD, grid) for bits_nD, grid in zip(codes, grids, strict=True)]

    def _encoded(self, clip_THWC: Tensor) -> Tensor:
        height, width = self.geometry.grid(*clip_THWC.shape[1:3])
        patches = (clip_THWC.float() / 127.5 - 1).unflatten(1, (height, -1)).unflatten(3, (width, -1))
        latents_ThwD = patches.mean((2, 4))[..., self._colours_D] * _REACH
        return bits_of_latents(latents_ThwD, self.geometry.scales((1, height, width)))

    def _decoded(self, bits_nD: Tensor, grid: Grid) -> Tensor:
        sum_ThwD = sum_of_bits(bits_nD, self.geometry.scales(grid))
        colours = [sum_ThwD[..., self._colours_D == colour].mean(-1) for colour in range(3)]
        pixels_ThwC = (torch.stack(colours, -1) / _REACH).clamp(-1, 1)
        across = pixels_ThwC.repeat_interleave(self.geometry.patch_px[1], 2)
        return across.repeat_interleave(self.geometry.patch_px[0], 1)
