"""The network of Cosmos DI; attributes have the names that published weights have.

Axes: C channels, T = t = 1 image, H and W pixels, D dimensions of a code, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.wavelet import PATCH, image_patches, image_pixels
from bitmill.bsq_model.layers.images.blocks import ImageConv
from bitmill.bsq_model.layers.images.network import ImageDecoder, ImageEncoder
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.cosmos_config import CosmosImageConfig

_PATCH_CHANNELS = 3 * PATCH**2


class CosmosImageNetwork(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoder(config, inputs=_PATCH_CHANNELS, outputs=config.z_channels, attends=True)
        self.quant_conv = ImageConv(config.z_channels, len(config.levels), 1)
        self.post_quant_conv = ImageConv(len(config.levels), config.z_channels, 1)
        self.decoder = ImageDecoder(config, inputs=config.z_channels, outputs=_PATCH_CHANNELS, attends=True)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return latents [t, h, w, D] of pixels in [−1, 1]; nothing is ``past``."""
        del past
        return self.quant_conv(self.encoder(image_patches(x_THWC)))

    def pixels(self, values_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped, of the quantizer's values."""
        del past, is_end
        return image_pixels(self.decoder(self.post_quant_conv(values_thwD)))
