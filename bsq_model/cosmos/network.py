"""The network of Cosmos DV between pixels and quantizer; its state dict has the names of published weights.

Axes: C = 3 colours, T frames, H and W pixels, D dimensions of a code, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import SpaceConv
from bitmill.bsq_model.cosmos.decoder import CosmosDecoder
from bitmill.bsq_model.cosmos.encoder import CosmosEncoder
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig


class CosmosNetwork(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        self.encoder = CosmosEncoder(config)
        self.quant_conv = SpaceConv(config.z_channels, len(config.levels))
        self.post_quant_conv = SpaceConv(len(config.levels), config.z_channels)
        self.decoder = CosmosDecoder(config)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return a row's latents [1, h, w, D] of pixels in [−1, 1].

        T is 1, and ``frames_per_token`` after the chunks of earlier calls with ``past``.
        """
        return self.quant_conv(self.encoder(x_THWC, past))

    def pixels(self, values_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return the frames [T, H, W, C] of a row of the quantizer's values, about −1 to 1, not clamped."""
        del is_end
        return self.decoder(self.post_quant_conv(values_thwD), past)
