"""Infinity's network between pixels and quantizer.

Axes: C = 3 colours, T = t = 1 image, H and W pixels, D bits of a token, h and w of the full token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.layers.images.network import ImageDecoder, ImageEncoder
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.infinity.config import InfinityConfig


class InfinityNetwork(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoder(config, inputs=3, outputs=config.bits_per_token, attends=False)
        self.decoder = ImageDecoder(config, inputs=config.bits_per_token, outputs=3, attends=False)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return latents [t, h, w, D] of pixels in [−1, 1]; nothing is ``past``."""
        del past
        return self.encoder(x_THWC)

    def pixels(self, values_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped, of the quantizer's values."""
        del past, is_end
        return self.decoder(values_thwD)
