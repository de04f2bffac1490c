"""The peer: a tokenizer's network written plainly, with the same weights, over one whole clip.

Axes: T frames, H and W pixels, t, h and w of the token grid, C channels of the latents, D
dimensions of a code, x tokens of a grid, t, h, w, or of a pyramid.
"""

import torch
from torch import Tensor

from benchmarks.published.plain_cosmos import PlainCosmos
from benchmarks.published.plain_emu3 import PlainEmu3
from benchmarks.published.plain_images import PlainCosmosImage, PlainInfinity, PlainOpenMagvit2
from benchmarks.published.plain_vidtok import PlainVidTok
from bitmill.bsq_model.published.quantizers import ResidualBSQ
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.geometry import Grid
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig


class Peer:
    """Encodes and decodes like the tokenizer."""

    def __init__(self, tokenizer: PublishedTokenizer) -> None:
        config, weights = tokenizer.config, tokenizer.network.state_dict()
        self._quantizer = tokenizer.quantizer
        match config:
            case VidTokConfig():
                self._network = PlainVidTok(config, weights)
            case CosmosVideoConfig():
                self._network = PlainCosmos(config, weights)
            case CosmosImageConfig():
                self._network = PlainCosmosImage(config, weights)
            case Emu3Config():
                self._network = PlainEmu3(config, weights)
            case InfinityConfig():
                self._network = PlainInfinity(config, weights)
            case OpenMagvit2Config():
                self._network = PlainOpenMagvit2(config, weights)

    @torch.inference_mode()
    def encode(self, clip_THWC: Tensor) -> Tensor:
        """Codes as ``PublishedTokenizer.encode`` returns them, of uint8 [T, H, W, 3]."""
        return self._quantizer.codes_of_latents(self.latents(clip_THWC))

    @torch.inference_mode()
    def latents(self, clip_THWC: Tensor) -> Tensor:
        """[t, h, w, C]."""
        pixels = (clip_THWC.float() / 127.5 - 1).movedim(-1, 0)[None].contiguous()
        return self._network.latents(pixels)[0].movedim(0, -1)

    @torch.inference_mode()
    def decode_pixels(self, codes_xD: Tensor, grid: Grid) -> Tensor:
        """Float32 [T, H, W, 3], clamped to [−1, 1]; of a pyramid's codes, ``grid`` is the full one."""
        quantizer = self._quantizer
        values_thwC = (
            quantizer.values_of_scales(codes_xD, grid)
            if isinstance(quantizer, ResidualBSQ)
            else quantizer.values_of_codes(codes_xD)
        )
        values = values_thwC.movedim(-1, 0)[None].contiguous()
        return self._network.pixels(values)[0].movedim(0, -1).clamp(-1, 1)
