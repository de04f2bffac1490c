"""Emu3's network between pixels and quantizer, and the codebook; its state dict has the published names.

Axes: C = 3 colours, T frames, H and W pixels, K rows of the codebook, L channels of a row, t, h and w of the
token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.emu3.decoder import Emu3Decoder
from bitmill.bsq_model.emu3.encoder import Emu3Encoder
from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past
from bitmill.schemas.models.emu3_config import Emu3Config

_IN_TIME = (3, 1, 1)


class Codebook(nn.Module):
    """The weights [K, L] of the quantizer."""

    def __init__(self, config: Emu3Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codebook_size, config.latent_channels)


class Emu3Network(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: Emu3Config) -> None:
        super().__init__()
        latents = config.latent_channels
        self.encoder = Emu3Encoder(config)
        self.quant_conv = CausalConv3d(latents, latents, "zeros", size=_IN_TIME)
        self.quantize = Codebook(config)
        self.post_quant_conv = CausalConv3d(latents, latents, "zeros", size=_IN_TIME)
        self.decoder = Emu3Decoder(config)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return a row's latents [1, h, w, L] of ``frames_per_token`` frames of pixels in [−1, 1]."""
        return self.quant_conv(self.encoder(x_THWC, past), past)

    def pixels(self, values_thwL: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return the frames [T, H, W, C] of a row of the quantizer's values, about −1 to 1, not clamped."""
        del is_end
        return self.decoder(self.post_quant_conv(values_thwL, past), values_thwL, past)
