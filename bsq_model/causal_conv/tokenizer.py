"""The causal-conv tokenizer: images and clips of any size to codes and back, for inference and for training.

Axes: B clips of one length, T frames, s frames of a row of tokens, H and W pixels, C = 3 colours, t, h and w
of the token grid, D dimensions of a code.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.bottlenecks import make_bottleneck
from bitmill.bsq_model.causal_conv.decoder import CausalConvDecoder
from bitmill.bsq_model.causal_conv.encoder import CausalConvEncoder
from bitmill.bsq_model.causal_conv.neighbours import WholeClips
from bitmill.bsq_model.causal_conv.stream import RowStream, decoded_rows, rows_of_frames
from bitmill.bsq_model.checks import check_clip_fits, check_codes_fit, check_finite
from bitmill.bsq_model.layers.frames import joined
from bitmill.bsq_model.layers.patches import pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer, TrainingOutput
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.models.geometry import Geometry


class CausalConvTokenizer(TrainableTokenizer):
    """Encodes clips of every legal length and size; fulfils ``contract.Tokenizer``.

    A causal one encodes and decodes one row of tokens after the other. So its codes are those of a stream, in
    a batch and at the start of a longer clip, in every bit on CPU, and memory does not grow with the clip.
    """

    config: CausalConvConfig

    def __init__(self, config: CausalConvConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = CausalConvEncoder(config)
        self.decoder = CausalConvDecoder(config)
        self.bottleneck = make_bottleneck(config.quantizer, config.code)
        self._is_causal = config.time == "causal"

    @property
    def geometry(self) -> Geometry:
        """See ``contract.Tokenizer``."""
        return self.config.geometry

    @property
    def networks(self) -> tuple[CausalConvEncoder, CausalConvDecoder]:
        """Encoder and decoder."""
        return self.encoder, self.decoder

    def forward(self, pixels_BTHWC: Tensor) -> TrainingOutput:
        """Run whole clips, differentiably, for training: float pixels in [−1, 1], clips of one legal length.

        The values are those of ``latents`` and ``decode_pixels``, up to rounding.
        """
        v_BthwD = self._whole_latents(pixels_BTHWC.to(self._weights.dtype))
        digits, codes_BthwD, commitment_Bthw = self.bottleneck(v_BthwD)
        return TrainingOutput(
            reconstruction_BTHWC=self._whole_pixels(codes_BthwD.to(self._weights.dtype)),
            v_BThwL=v_BthwD,
            codes_BThwL=codes_BthwD,
            bits_BThwL=digits,
            commitment_BThw=commitment_Bthw,
            logit_laplace_BTHWC=None,
        )

    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Encode clips, uint8 [T, H, W, 3], to codes [t, h, w, D], in order, on this module's device."""
        return [self.bottleneck.bits_of_latents(v_thwD) for v_thwD in self.latents(clips)]

    @torch.inference_mode()
    def latents(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Return the latents that become codes, float32 [t, h, w, D] per clip."""
        for clip in clips:
            check_clip_fits(clip, self.geometry)
        if self._is_causal:
            return [self.stream_encoder().push_latents(clip) for clip in clips]
        return [check_finite(self._whole_latents(self._pixels(clip)[None])[0], "latents") for clip in clips]

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Decode codes to clips, uint8 [T, H, W, 3]; grey levels are rounded to the nearest."""
        return [self._decoded(codes_thwD, uint8_from_pixels) for codes_thwD in codes]

    @torch.inference_mode()
    def decode_pixels(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Like ``decode``, before rounding to grey levels: float32 [T, H, W, 3], clamped to [−1, 1]."""
        return [self._decoded(codes_thwD, lambda pixels: pixels) for codes_thwD in codes]

    def stream_encoder(self) -> RowStream:
        """Return an encoder for one clip that takes its frames chunk by chunk. Raises UsageError if tokens
        depend on later frames."""
        if not self._is_causal:
            raise UsageError("A tokenizer with time 'both' cannot stream: its tokens depend on later frames.")
        return RowStream(self.geometry, self.encoder, self.bottleneck)

    @property
    def _weights(self) -> Tensor:
        return next(self.encoder.parameters())

    def _pixels(self, clip_THWC: Tensor) -> Tensor:
        return pixels_from_uint8(clip_THWC.to(self._weights.device), self._weights.dtype)

    def _whole_latents(self, pixels_BTHWC: Tensor) -> Tensor:
        rows = rows_of_frames(pixels_BTHWC, self.geometry, has_lead=bool(self.geometry.lead_frames))
        time = WholeClips(len(rows), is_causal=self._is_causal)
        return self.encoder(rows.flatten(0, 1), time).unflatten(0, rows.shape[:2])

    def _whole_pixels(self, codes_BthwD: Tensor) -> Tensor:
        num_clips, time = len(codes_BthwD), WholeClips(len(codes_BthwD), is_causal=self._is_causal)
        rows = self.decoder.rows(codes_BthwD.flatten(0, 1), time)
        frames = rows.unflatten(0, (num_clips, -1)).flatten(1, 2)
        if self.geometry.lead_frames:
            frames = frames[:, self.geometry.frames_per_token - 1 :]
        return self.decoder.frames(frames.flatten(0, 1), time).unflatten(0, (num_clips, -1))

    def _decoded(self, codes_thwD: Tensor, kept: Callable[[Tensor], Tensor]) -> Tensor:
        check_codes_fit(codes_thwD, self.geometry)
        chunks = map(kept, self._pixel_chunks(codes_thwD.to(self._weights.device)))
        return joined(chunks, self.geometry.frames_of_rows(len(codes_thwD)))

    def _pixel_chunks(self, codes_thwD: Tensor) -> Iterator[Tensor]:
        values_thwD = self.bottleneck.codes_of_bits(codes_thwD, self._weights.dtype)
        if self._is_causal:
            yield from decoded_rows(self.geometry, self.decoder, values_thwD.split(1))
        else:
            pixels_THWC = self._whole_pixels(values_thwD[None])[0]
            yield check_finite(pixels_THWC, "pixels").float().clamp(-1, 1)
