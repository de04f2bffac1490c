"""A tokenizer with FSQ: clips to digits and back, in float32.

Axes: B = 1 clip, T frames, H and W pixels, C = 3 colours, t, h and w of the token grid, D dimensions of a
code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.fsq import values_of_digits
from bitmill.bsq_model.checks import check_clip_fits, check_digits, check_finite
from bitmill.bsq_model.fingerprint import float32_weights, weights_fingerprint
from bitmill.bsq_model.fsq.networks import make_network
from bitmill.bsq_model.fsq.stream import FSQStream
from bitmill.bsq_model.layers.causal_conv import exact_convolutions
from bitmill.bsq_model.layers.patches import uint8_from_pixels
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import FSQConfig
from bitmill.schemas.models.geometry import Geometry


class FSQTokenizer:
    """Encodes clips, of DI single images; fulfils ``contract.Tokenizer``.

    A clip is encoded one row of tokens after the other. So its codes are those of a stream, in a batch and at
    the start of a longer clip, in every bit; and memory does not grow with its length, but for the keys and
    values of Cosmos' attention in time. It is decoded as a whole: VidTok 1.1 looks one row ahead.
    """

    def __init__(self, config: FSQConfig) -> None:
        self.config = config
        self.network = make_network(config)

    @property
    def geometry(self) -> Geometry:
        """See ``contract.Tokenizer``."""
        return self.config.geometry

    @property
    def fingerprint(self) -> str:
        """32 hex digits that identify config and float32 weights, on any device."""
        return weights_fingerprint(self.config, float32_weights(self.network))

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.network.parameters()).device

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "FSQTokenizer":
        """Move to a device, in place. Raises UsageError unless ``dtype`` is float32: codes would change."""
        if dtype != torch.float32:
            raise UsageError(
                f"{self.config.architecture} computes in float32 only, not in {dtype}; set dtype to float32."
            )
        self.network.to(device)
        return self

    @torch.inference_mode()
    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Encode clips, uint8 [T, H, W, 3], to digits, int64 [t, h, w, D], in order, on this device."""
        for clip in clips:
            check_clip_fits(clip, self.geometry)
        return [self.stream_encoder().push(clip) for clip in clips]

    def stream_encoder(self) -> FSQStream:
        """Return an encoder for one clip that takes its frames chunk by chunk."""
        return FSQStream(self.config, self.network, self.device)

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Decode digits to clips, uint8 [T, H, W, 3]; grey levels are rounded to the nearest."""
        return [uint8_from_pixels(pixels_THWC) for pixels_THWC in self.decode_pixels(codes)]

    @torch.inference_mode()
    def decode_pixels(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Like ``decode``, before rounding to grey levels: float32 [T, H, W, 3], clamped to [−1, 1]."""
        for digits_thwD in codes:
            check_digits(digits_thwD, self.geometry)
        return [self._decoded(digits_thwD.to(self.device)) for digits_thwD in codes]

    def _decoded(self, digits_thwD: Tensor) -> Tensor:
        values_BDthw = values_of_digits(digits_thwD, self.config.levels).movedim(-1, 0)[None]
        with exact_convolutions():
            pixels_BCTHW = check_finite(self.network.pixels(values_BDthw), "pixels")
        return pixels_BCTHW[0].movedim(0, -1).clamp(-1, 1).contiguous()
