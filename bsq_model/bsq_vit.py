"""The tokenizer: clips to bits and back, for inference and for training (arXiv 2406.07548).

A BSQ-ViT by default; the config selects variants (docs/model.md), which ``layers`` and ``bottleneck``
implement.

Axes: B clips of one length, T frames, H and W pixels, C = 3 colours, h and w tokens, R tokens of all clips, L
bits of a token, P = 3·p² values of a patch, X values that the decoder outputs per token.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.bottlenecks import make_bottleneck
from bitmill.bsq_model.checks import check_bits, check_clip, check_finite, refuse_unless
from bitmill.bsq_model.layers.backbone import Backbone
from bitmill.bsq_model.layers.factory import make_decoder, make_encoder
from bitmill.bsq_model.layers.output import distribution_of_output, pixels_of_output
from bitmill.bsq_model.layers.patches import patches_from_pixels, pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.streaming import StreamDecoder, StreamEncoder
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer, TrainingOutput
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.geometry import Geometry


class StartedEncode(NamedTuple):
    """Bits that an accelerator may still be computing."""

    codes: list[Tensor]
    """Bits, bool [T, h, w, L], for each clip."""
    finite: Tensor
    """Bool scalar: whether all latents are finite; if not, the bits are meaningless."""


class BSQTokenizer(TrainableTokenizer):
    """Encodes clips of 1 to ``num_frames`` frames to L bits per patch and frame, and decodes them.

    Frames are square and of one size, or of any multiple of the patch size if ``positions`` is interpolate.
    A frame's bits depend on no later frame (unless ``attention`` is full) and on no other clip of the call:
    bit-exactly on CPU, up to rounding elsewhere (docs/model.md). ``tokenizer.to(device, dtype)`` casts the
    weights to float32 or bfloat16 on any device; latents are float32 in both.
    """

    config: TokenizerConfig

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        self.decoder = make_decoder(config)
        self.bottleneck = make_bottleneck(config.quantizer, config.geometry.code)

    @property
    def geometry(self) -> Geometry:
        """See ``contract.Tokenizer``."""
        return self.config.geometry

    @property
    def networks(self) -> tuple[Backbone, Backbone]:
        """Encoder and decoder."""
        return self.encoder, self.decoder

    def forward(self, pixels_BTHWC: Tensor) -> TrainingOutput:
        """Run the differentiable masked form, for training: float pixels in [−1, 1], clips of one length."""
        v_BThwL = self.encoder(patches_from_pixels(pixels_BTHWC.to(self._dtype), self.config.patch_size_px))
        bits_BThwL, codes_BThwL, commitment_BThw = self.bottleneck(v_BThwL)
        values_BThwX = self.decoder(codes_BThwL.to(self._dtype))
        return TrainingOutput(
            reconstruction_BTHWC=pixels_of_output(values_BThwX, self.config),
            v_BThwL=v_BThwL,
            codes_BThwL=codes_BThwL,
            bits_BThwL=bits_BThwL,
            commitment_BThw=commitment_BThw,
            logit_laplace_BTHWC=distribution_of_output(values_BThwX, self.config),
        )

    @torch.inference_mode()
    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Encode clips, uint8 [T, H, W, 3], to bits, bool [T, h, w, L], in order, on this module's device."""
        started = self.start_encode(clips)
        refuse_unless(started.finite, "latents")
        return started.codes

    @torch.inference_mode()
    def start_encode(self, clips: Sequence[Tensor]) -> "StartedEncode":
        """``encode`` without waiting for an accelerator; check ``finite`` before using the bits."""
        latents = self._latents(clips)
        if self._device.type == "cpu":
            bits = [self.bottleneck.bits_of_latents(v_ThwL) for v_ThwL in latents]
            finite = torch.tensor(all(bool(torch.isfinite(v_ThwL).all()) for v_ThwL in latents))
            return StartedEncode(bits, finite)
        v_RL = torch.cat([v_ThwL.flatten(0, 2) for v_ThwL in latents])
        bits_RL = self.bottleneck.bits_of_latents(v_RL)
        parts = bits_RL.split([v_ThwL.shape[:3].numel() for v_ThwL in latents])
        bits = [part.view(v_ThwL.shape) for part, v_ThwL in zip(parts, latents, strict=True)]
        return StartedEncode(bits, torch.isfinite(v_RL).all())

    @torch.inference_mode()
    def latents(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Return the latents that become bits (BSQ, LFQ: by sign), float32 [T, h, w, L] per clip."""
        return [check_finite(v_ThwL, "latents") for v_ThwL in self._latents(clips)]

    def _latents(self, clips: Sequence[Tensor]) -> list[Tensor]:
        for clip in clips:
            check_clip(clip, self.config)
        return _by_size(self._latents_of_one_size, clips)

    def _latents_of_one_size(self, clips: Sequence[Tensor]) -> list[Tensor]:
        on_device = [clip.to(self._device, non_blocking=True) for clip in clips]
        if self._device.type == "cpu":
            return self.encoder.infer([self._patches(clip) for clip in on_device])
        # One kernel for all clips: launched per clip, they take a fifth of the network's time.
        patches_MhwP = self._patches(torch.cat(on_device))
        return self.encoder.infer(patches_MhwP.split([len(clip) for clip in clips]))

    @torch.inference_mode()
    def decode(self, bits: Sequence[Tensor]) -> list[Tensor]:
        """Decode bits, bool [T, h, w, L], to clips, uint8 [T, H, W, 3], in order, on this module's device."""
        return [uint8_from_pixels(pixels_THWC) for pixels_THWC in self.decode_pixels(bits)]

    @torch.inference_mode()
    def decode_pixels(self, bits: Sequence[Tensor]) -> list[Tensor]:
        """Like ``decode``, before rounding to grey levels: float32 [T, H, W, 3], clamped to [−1, 1]."""
        for bits_ThwL in bits:
            check_bits(bits_ThwL, self.config)
        on_device = [bits_ThwL.to(self._device, non_blocking=True) for bits_ThwL in bits]
        codes = [self.bottleneck.codes_of_bits(bits_ThwL, self._dtype) for bits_ThwL in on_device]
        values = [check_finite(values, "pixels") for values in _by_size(self.decoder.infer, codes)]
        return [pixels_of_output(values_ThwX, self.config).float().clamp(-1, 1) for values_ThwX in values]

    def stream_encoder(self) -> StreamEncoder:
        """Return an encoder for one clip that takes its frames chunk by chunk."""
        return StreamEncoder(self.config, self.encoder, self.bottleneck)

    def stream_decoder(self) -> StreamDecoder:
        """Return a decoder for one clip that takes its bits chunk by chunk."""
        return StreamDecoder(self.config, self.decoder, self.bottleneck)

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.encoder.parameters()).dtype

    def _patches(self, clip_THWC: Tensor) -> Tensor:
        return patches_from_pixels(pixels_from_uint8(clip_THWC, self._dtype), self.config.patch_size_px)


def _by_size(run: Callable[[Sequence[Tensor]], list[Tensor]], clips: Sequence[Tensor]) -> list[Tensor]:
    """Return ``run`` of all clips, called once for those of each height and width (axes 1 and 2)."""
    places: dict[torch.Size, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip.shape[1:3], []).append(place)
    outputs: dict[int, Tensor] = {}
    for same in places.values():
        outputs.update(zip(same, run([clips[place] for place in same]), strict=True))
    return [outputs[place] for place in range(len(clips))]
