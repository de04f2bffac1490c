"""One clip through the tokenizer a frame at a time, with cached keys and values.

Axes: H and W pixels, C = 3 colours, h and w tokens, L bits of a token.
"""

import torch
from torch import Tensor

from bsq_model.checks import check_bits, check_clip, check_finite
from bsq_model.pixels import patches_from_pixels, pixels_from_patches, pixels_from_uint8, uint8_from_pixels
from bsq_model.quantizer import bits_of_latents, codes_of_bits
from bsq_model.vit import BlockCausalViT
from schemas.tokenizer import TokenizerConfig


class StreamEncoder:
    """Frames in, their bits out at once; on CPU the same in every bit as ``encode`` of the whole clip."""

    def __init__(self, config: TokenizerConfig, encoder: BlockCausalViT) -> None:
        self._config = config
        self._weights = encoder.spatial_positions
        self._stream = encoder.stream()

    @torch.inference_mode()
    def push(self, frame_HWC: Tensor) -> Tensor:
        """The next frame, uint8 [H, W, 3], as bits, bool [h, w, L], on the tokenizer's device."""
        check_clip(frame_HWC[None], self._config)
        pixels = pixels_from_uint8(frame_HWC.to(self._weights.device), self._weights.dtype)
        v_NL = self._stream.push(patches_from_pixels(pixels, self._config.patch_size_px))
        return bits_of_latents(check_finite(v_NL, "latents")).unflatten(0, (self._config.grid_size, -1))


class StreamDecoder:
    """A frame's bits in, its pixels out at once; on CPU the same as ``decode`` of the whole clip."""

    def __init__(self, config: TokenizerConfig, decoder: BlockCausalViT) -> None:
        self._config = config
        self._weights = decoder.spatial_positions
        self._stream = decoder.stream()

    @torch.inference_mode()
    def push(self, bits_hwL: Tensor) -> Tensor:
        """The next frame's bits, bool [h, w, L], as uint8 [H, W, 3] on the tokenizer's device."""
        check_bits(bits_hwL[None], self._config)
        codes_NL = codes_of_bits(bits_hwL.to(self._weights.device).flatten(0, 1), self._weights.dtype)
        patches_NP = check_finite(self._stream.push(codes_NL), "pixels")
        pixels = pixels_from_patches(patches_NP, self._config.grid_size, self._config.patch_size_px)
        return uint8_from_pixels(pixels)
