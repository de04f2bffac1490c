"""VidTok's network between pixels and the quantizer; its state dict has the names of published weights.

Axes: B clips, C = 3 colours, T frames, H and W pixels, D dimensions of a code, t, h and w of the token grid.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.bsq_model.vidtok.decoder import VidTokDecoder
from bitmill.bsq_model.vidtok.encoder import VidTokEncoder
from bitmill.schemas.models.vidtok_config import VidTokConfig


class VidTokNetwork(nn.Module):
    """See ``fsq.tokenizer.FSQTokenizer``, which runs it."""

    def __init__(self, config: VidTokConfig) -> None:
        super().__init__()
        self._lead_pad = config.frames_per_token - 1
        self.encoder = VidTokEncoder(config)
        self.decoder = VidTokDecoder(config)

    def latents(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return latents [B, D, t, h, w] of pixels in [−1, 1].

        T is 1 + k·``frames_per_token``; k·``frames_per_token`` after those of earlier calls with ``past``.
        """
        if not past:
            # The lead frame fills a row of its own.
            lead_BCTHW = x_BCTHW[:, :, :1].expand(-1, -1, self._lead_pad, -1, -1)
            x_BCTHW = torch.cat((lead_BCTHW, x_BCTHW), dim=2)
        return self.encoder(x_BCTHW, past)

    def pixels(self, values_BDthw: Tensor) -> Tensor:
        """Return pixels [B, C, T, H, W], about −1 to 1, not clamped, of the quantizer's values."""
        return self.decoder(values_BDthw)
