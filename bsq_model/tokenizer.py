"""The BSQ-ViT tokenizer: clips to bits and back, for inference and for training (arXiv 2406.07548).

Axes: B clips of one length, T frames, H and W pixels, C = 3 colours, h and w tokens, N = h·w, L bits of a
token, P = 3·p² values of a patch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bsq_model.checks import check_bits, check_clip, check_finite
from bsq_model.fingerprint import weights_fingerprint
from bsq_model.pixels import patches_from_pixels, pixels_from_patches, pixels_from_uint8, uint8_from_pixels
from bsq_model.quantizer import bits_of_latents, codes_of_bits, quantize
from bsq_model.streaming import StreamDecoder, StreamEncoder
from bsq_model.vit import BlockCausalViT
from schemas.tokenizer import TokenizerConfig


class LatentProjection(nn.Linear):
    """Width to L in float32, whatever the weights' dtype or autocast, since signs decide bits."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Linear's name)
        """[..., D] of any float dtype to float32 [..., L]."""
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.float(), self.weight.float(), self.bias.float())


class TrainingOutput(NamedTuple):
    """What the losses need of one training step."""

    reconstruction_BTHWC: Tensor
    """Pixels, not clamped; [−1, 1] is the range of the originals."""
    v_BThwL: Tensor
    """Latents before normalisation and sign, float32."""
    codes_BThwL: Tensor
    """Quantised latents ±1/√L, with the straight-through gradient."""


class BSQTokenizer(nn.Module):
    """Clips of 1 to ``num_frames`` square frames to L bits a patch a frame, and back.

    A frame's bits depend on no later frame and on no other clip of the call: in every bit on CPU, to
    rounding elsewhere (docs/model.md). Weights may be float32 or bfloat16, on any device, by
    ``tokenizer.to(device, dtype)``, which casts them; latents are float32 in both.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        tokens, frames = config.tokens_per_frame, config.num_frames
        patch_values = 3 * config.patch_size_px**2
        self.encoder = BlockCausalViT(
            config.encoder,
            tokens,
            frames,
            embed=nn.Linear(patch_values, config.encoder.width, bias=False),
            head=LatentProjection(config.encoder.width, config.bits_per_token),
        )
        self.decoder = BlockCausalViT(
            config.decoder,
            tokens,
            frames,
            embed=nn.Linear(config.bits_per_token, config.decoder.width),
            head=nn.Sequential(
                nn.Linear(config.decoder.width, config.decoder_ffn_width),
                nn.Tanh(),
                nn.Linear(config.decoder_ffn_width, patch_values),
            ),
        )
        self.cast_from_fingerprint: str | None = None
        """Fingerprint of the float32 weights that these, of a lower precision, were cast from."""
        self.register_load_state_dict_post_hook(_forget_fingerprint)

    def forward(self, pixels_BTHWC: Tensor) -> TrainingOutput:
        """The differentiable masked form, for training: float pixels in [−1, 1], all clips of one length."""
        patches_BTNP = patches_from_pixels(pixels_BTHWC.to(self._dtype), self.config.patch_size_px)
        v_BTNL = self.encoder(patches_BTNP)
        codes_BTNL = quantize(v_BTNL)
        patches_BTNP = self.decoder(codes_BTNL.to(self._dtype))
        return TrainingOutput(self._pixels(patches_BTNP), self._grid(v_BTNL), self._grid(codes_BTNL))

    @torch.inference_mode()
    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Clips, uint8 [T, H, W, 3] each, as bits, bool [T, h, w, L], in order, on the tokenizer's device."""
        return [bits_of_latents(v_ThwL) for v_ThwL in self.latents(clips)]

    @torch.inference_mode()
    def latents(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """The values whose signs are the bits, before normalisation: float32 [T, h, w, L] for each clip."""
        for clip in clips:
            check_clip(clip, self.config)
        on_device = [clip.to(self._device, non_blocking=True) for clip in clips]
        patches = [self._patches(clip) for clip in on_device]
        return [check_finite(self._grid(v_TNL), "latents") for v_TNL in self.encoder.infer(patches)]

    @torch.inference_mode()
    def decode(self, bits: Sequence[Tensor]) -> list[Tensor]:
        """Bits, bool [T, h, w, L] each, as clips, uint8 [T, H, W, 3], in order, on the tokenizer's device."""
        return [uint8_from_pixels(pixels_THWC) for pixels_THWC in self.decode_pixels(bits)]

    @torch.inference_mode()
    def decode_pixels(self, bits: Sequence[Tensor]) -> list[Tensor]:
        """As ``decode``, before rounding to grey levels: float32 [T, H, W, 3], clamped to [−1, 1]."""
        for bits_ThwL in bits:
            check_bits(bits_ThwL, self.config)
        codes = [
            codes_of_bits(b.to(self._device, non_blocking=True).flatten(1, 2), self._dtype) for b in bits
        ]
        decoded = self.decoder.infer(codes)
        return [check_finite(self._pixels(x_TNP), "pixels").float().clamp(-1, 1) for x_TNP in decoded]

    def stream_encoder(self) -> StreamEncoder:
        """An encoder for one clip whose frames come one at a time."""
        return StreamEncoder(self.config, self.encoder)

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one clip whose bits come a frame at a time."""
        return StreamDecoder(self.config, self.decoder)

    @property
    def _device(self) -> torch.device:
        return self.encoder.spatial_positions.device

    @property
    def _dtype(self) -> torch.dtype:
        return self.encoder.spatial_positions.dtype

    def _patches(self, clip_THWC: Tensor) -> Tensor:
        return patches_from_pixels(pixels_from_uint8(clip_THWC, self._dtype), self.config.patch_size_px)

    def _pixels(self, patches_xNP: Tensor) -> Tensor:
        return pixels_from_patches(patches_xNP, self.config.grid_size, self.config.patch_size_px)

    def _grid(self, x_xNL: Tensor) -> Tensor:
        return x_xNL.unflatten(-2, (self.config.grid_size, self.config.grid_size))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "BSQTokenizer":
        """Every ``.to`` ends here: a cast from float32 keeps the fingerprint that the new weights lose."""
        was, becomes = self._dtype, fn(self.encoder.spatial_positions.detach()[:1]).dtype
        if becomes == torch.float32:
            self.cast_from_fingerprint = None
        elif was == torch.float32:
            self.cast_from_fingerprint = weights_fingerprint(self.config, self.state_dict())
        super()._apply(fn, recurse)
        return self


def _forget_fingerprint(module: nn.Module, incompatible_keys: object) -> None:
    """Loading weights into a cast tokenizer ends its kinship with the float32 weights."""
    del incompatible_keys
    if isinstance(module, BSQTokenizer):
        module.cast_from_fingerprint = None
