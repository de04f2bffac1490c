"""The network of Cosmos DV between pixels and quantizer; its state dict has the names of published weights.

Axes: B clips, C = 3 colours, T frames, H and W pixels, D dimensions of a code, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import Conv
from bitmill.bsq_model.cosmos.decoder import CosmosDecoder
from bitmill.bsq_model.cosmos.encoder import CosmosEncoder
from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig


class CosmosNetwork(nn.Module):
    """See ``fsq.tokenizer.FSQTokenizer``, which runs it."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        self.encoder = CosmosEncoder(config)
        self.quant_conv = Conv(config.z_channels, len(config.levels))
        self.post_quant_conv = Conv(len(config.levels), config.z_channels)
        self.decoder = CosmosDecoder(config)

    def latents(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return latents [B, D, t, h, w] of pixels in [−1, 1].

        T is 1 + k·``frames_per_token``; k·``frames_per_token`` after those of earlier calls with ``past``.
        """
        return self.quant_conv(self.encoder(x_BCTHW, past))

    def pixels(self, values_BDthw: Tensor) -> Tensor:
        """Return pixels [B, C, T, H, W], about −1 to 1, not clamped, of the quantizer's values."""
        return self.decoder(self.post_quant_conv(values_BDthw))
