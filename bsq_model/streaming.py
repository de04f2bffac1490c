"""Encodes and decodes one clip frame by frame with a causal tokenizer, using a key-value cache.

Axes: H and W pixels, C = 3 colours, h and w tokens, L bits of a token.
"""

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.bottleneck import Bottleneck
from bitmill.bsq_model.checks import check_bits, check_clip, check_finite
from bitmill.bsq_model.layers.backbone import Backbone
from bitmill.bsq_model.layers.output import pixels_of_output
from bitmill.bsq_model.layers.pixels import patches_from_pixels, pixels_from_uint8, uint8_from_pixels
from bitmill.schemas.models.tokenizer_config import TokenizerConfig


class StreamEncoder:
    """Encodes a clip frame by frame; on CPU bit-identical to ``encode`` of the whole clip."""

    def __init__(self, config: TokenizerConfig, encoder: Backbone, bottleneck: Bottleneck) -> None:
        self._config = config
        self._weights = next(encoder.parameters())
        self._bottleneck = bottleneck
        self._stream = encoder.stream()

    @torch.inference_mode()
    def push(self, frame_HWC: Tensor) -> Tensor:
        """Encode the next frame, uint8 [H, W, 3], to bits, bool [h, w, L], on the tokenizer's device."""
        check_clip(frame_HWC[None], self._config)
        pixels = pixels_from_uint8(frame_HWC.to(self._weights.device), self._weights.dtype)
        v_NL = self._stream.push(patches_from_pixels(pixels, self._config.patch_size_px))
        bits_NL = self._bottleneck.bits_of_latents(check_finite(v_NL, "latents"))
        return bits_NL.unflatten(0, (self._config.grid_size, -1))


class StreamDecoder:
    """Decodes a clip frame by frame; on CPU the same as ``decode`` of the whole clip."""

    def __init__(self, config: TokenizerConfig, decoder: Backbone, bottleneck: Bottleneck) -> None:
        self._config = config
        self._weights = next(decoder.parameters())
        self._bottleneck = bottleneck
        self._stream = decoder.stream()

    @torch.inference_mode()
    def push(self, bits_hwL: Tensor) -> Tensor:
        """Decode the next frame's bits, bool [h, w, L], to uint8 [H, W, 3] on the tokenizer's device."""
        check_bits(bits_hwL[None], self._config)
        bits_NL = bits_hwL.to(self._weights.device).flatten(0, 1)
        codes_NL = self._bottleneck.codes_of_bits(bits_NL, self._weights.dtype)
        values_NX = check_finite(self._stream.push(codes_NL), "pixels")
        return uint8_from_pixels(pixels_of_output(values_NX, self._config))
