"""Encodes and decodes one clip chunk by chunk with a causal tokenizer, using a key-value cache.

Axes: n frames of a chunk, H and W pixels, C = 3 colours, h and w tokens, L bits of a token.
"""

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.bottlenecks import Bottleneck
from bitmill.bsq_model.checks import check_bits, check_clip, check_finite
from bitmill.bsq_model.layers.backbone import Backbone
from bitmill.bsq_model.layers.output import pixels_of_output
from bitmill.bsq_model.layers.patches import patches_from_pixels, pixels_from_uint8, uint8_from_pixels
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig


class _Stream:
    def __init__(self, config: TokenizerConfig, network: Backbone, bottleneck: Bottleneck) -> None:
        self._config = config
        self._weights = next(network.parameters())
        self._bottleneck = bottleneck
        self._stream = network.stream()
        self._size: torch.Size | None = None

    def _check_size(self, x_nHWX: Tensor) -> None:
        """Raise ValueError unless height and width are those of the chunks before."""
        size = x_nHWX.shape[1:3]
        if self._size not in (None, size):
            raise ValueError(
                f"the stream's clip is {list(self._size or size)} high and wide, not {list(size)}"
            )
        self._size = size


class StreamEncoder(_Stream):
    """Encodes a clip in chunks; on CPU bit-identical to ``encode`` of the whole clip."""

    @torch.inference_mode()
    def push(self, frames_nHWC: Tensor) -> Tensor:
        """Encode the next frames, uint8 [n, H, W, 3], to bits, bool [n, h, w, L], on this device."""
        check_clip(frames_nHWC, self._config)
        self._check_size(frames_nHWC)
        return torch.stack([self._push(frame_HWC) for frame_HWC in frames_nHWC])

    def _push(self, frame_HWC: Tensor) -> Tensor:
        pixels = pixels_from_uint8(frame_HWC.to(self._weights.device), self._weights.dtype)
        v_hwL = self._stream.push(patches_from_pixels(pixels, self._config.patch_size_px))
        return self._bottleneck.bits_of_latents(check_finite(v_hwL, "latents"))


class StreamDecoder(_Stream):
    """Decodes a clip in chunks; on CPU the same as ``decode`` of the whole clip."""

    @torch.inference_mode()
    def push(self, bits_nhwL: Tensor) -> Tensor:
        """Decode the next frames' bits, bool [n, h, w, L], to uint8 [n, H, W, 3] on this device."""
        check_bits(bits_nhwL, self._config)
        self._check_size(bits_nhwL)
        return torch.stack([self._push(bits_hwL) for bits_hwL in bits_nhwL])

    def _push(self, bits_hwL: Tensor) -> Tensor:
        codes_hwL = self._bottleneck.codes_of_bits(bits_hwL.to(self._weights.device), self._weights.dtype)
        values_hwX = check_finite(self._stream.push(codes_hwL), "pixels")
        return uint8_from_pixels(pixels_of_output(values_hwX, self._config))
