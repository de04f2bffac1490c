"""VidTok's network between pixels and the quantizer; its state dict has the names of published weights.

Axes: C = 3 colours, T frames, H and W pixels, D dimensions of a code, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.layers.past_frames import Past
from bitmill.bsq_model.vidtok.decoder import VidTokDecoder
from bitmill.bsq_model.vidtok.encoder import VidTokEncoder
from bitmill.schemas.models.vidtok_config import VidTokConfig


class VidTokNetwork(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: VidTokConfig) -> None:
        super().__init__()
        self._lead_frames = config.frames_per_token if config.time_pad == "zeros" else 1
        self.encoder = VidTokEncoder(config)
        self.decoder = VidTokDecoder(config)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return a row's latents [1, h, w, D] of pixels in [−1, 1].

        T is 1, and ``frames_per_token`` after the chunks of earlier calls with ``past``.
        """
        # The lead frame fills a row of its own.
        return self.encoder(x_THWC.expand(self._lead_frames, -1, -1, -1) if past.is_start else x_THWC, past)

    def pixels(self, values_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return the frames [T, H, W, C] that a row of the quantizer's values completes.

        They are about −1 to 1, not clamped; ``is_end`` if no row follows.
        """
        return self.decoder(values_thwD, past, is_end=is_end)
