"""The peer: a tokenizer's network written plainly, with the same weights, over one whole clip.

Axes: T frames, H and W pixels, t, h and w of the token grid, D dimensions of a code.
"""

import torch
from torch import Tensor

from benchmarks.published.plain_cosmos import PlainCosmos
from benchmarks.published.plain_images import PlainCosmosImage
from benchmarks.published.plain_vidtok import PlainVidTok
from bitmill.bsq_model.bottleneck.fsq import digits_of_latents, values_of_digits
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig


class Peer:
    """Encodes and decodes like the tokenizer."""

    def __init__(self, tokenizer: PublishedTokenizer) -> None:
        config, weights = tokenizer.config, tokenizer.network.state_dict()
        self._levels = config.levels
        match config:
            case VidTokConfig():
                self._network = PlainVidTok(config, weights)
            case CosmosVideoConfig():
                self._network = PlainCosmos(config, weights)
            case CosmosImageConfig():
                self._network = PlainCosmosImage(config, weights)

    @torch.inference_mode()
    def encode(self, clip_THWC: Tensor) -> Tensor:
        """Digits, int64 [t, h, w, D], of uint8 [T, H, W, 3]."""
        return digits_of_latents(self.latents(clip_THWC), self._levels)

    @torch.inference_mode()
    def latents(self, clip_THWC: Tensor) -> Tensor:
        """[t, h, w, D]."""
        pixels = (clip_THWC.float() / 127.5 - 1).movedim(-1, 0)[None].contiguous()
        return self._network.latents(pixels)[0].movedim(0, -1)

    @torch.inference_mode()
    def decode_pixels(self, digits_thwD: Tensor) -> Tensor:
        """Float32 [T, H, W, 3], clamped to [−1, 1]."""
        values = values_of_digits(digits_thwD, self._levels).movedim(-1, 0)[None].contiguous()
        return self._network.pixels(values)[0].movedim(0, -1).clamp(-1, 1)
