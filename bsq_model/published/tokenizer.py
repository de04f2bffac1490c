"""A published tokenizer: clips to codes and back.

Axes: T frames, H and W pixels, t, h and w of the token grid, n tokens of a pyramid, D dimensions of a code.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bitmill.bsq_model.checks import check_clip_fits, check_codes_fit, check_scales_fit
from bitmill.bsq_model.fingerprint import float32_weights, weights_fingerprint
from bitmill.bsq_model.layers.frames import joined
from bitmill.bsq_model.layers.patches import uint8_from_pixels
from bitmill.bsq_model.published.graphed_steps import Steps
from bitmill.bsq_model.published.networks import make_network
from bitmill.bsq_model.published.quantizers import Quantizer, ResidualBSQ, make_quantizer
from bitmill.bsq_model.published.stream import PublishedStream, decoded_chunks, decoded_image
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.geometry import Geometry, Grid


class PublishedTokenizer:
    """Encodes clips, of DI and Infinity single images; fulfils ``contract.Tokenizer``.

    A clip is encoded, and decoded, one row of tokens after the other. So its codes are those of a stream, in
    a batch and at the start of a longer clip, in every bit on CPU; and memory does not grow with its length,
    but for what comes out, and the keys and values of Cosmos' attention in time, whose clips have an end.
    """

    def __init__(self, config: PublishedConfig) -> None:
        self.config = config
        self.network = make_network(config)
        self.quantizer = make_quantizer(config, self.network)
        self.steps = Steps(config, self.network)
        self._cast_from_fingerprint: str | None = None

    @property
    def geometry(self) -> Geometry:
        """See ``contract.Tokenizer``."""
        return self.config.geometry

    @property
    def fingerprint(self) -> str:
        """32 hex digits that identify config and float32 weights, on any device and in any dtype."""
        if self._cast_from_fingerprint is not None:
            return self._cast_from_fingerprint
        return weights_fingerprint(self.config, float32_weights(self.network))

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.network.parameters()).device

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "PublishedTokenizer":
        """Move to a device, and to float32 or bfloat16, in place; latents are quantised in float32 in both.

        Raises UsageError for another dtype.
        """
        if dtype not in {torch.float32, torch.bfloat16}:
            raise UsageError(
                f"{self.config.architecture} computes in float32 or bfloat16, not in {dtype}; "
                "set dtype to one of them."
            )
        was = next(self.network.parameters()).dtype
        if dtype == torch.float32:
            self._cast_from_fingerprint = None
        elif was == torch.float32:
            self._cast_from_fingerprint = self.fingerprint
        self.network.to(device, dtype)
        self.steps.forget_graphs()
        return self

    def encode(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Encode clips, uint8 [T, H, W, 3], to codes [t, h, w, D], in order, on this device.

        Of pyramids [N, D], of all scales.
        """
        for clip in clips:
            check_clip_fits(clip, self.geometry)
        return [self.stream_encoder().push(clip) for clip in clips]

    def latents(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Return the latents that become codes, float32 [t, h, w, L] per clip."""
        return [self.stream_encoder().push_latents(clip) for clip in clips]

    def stream_encoder(self) -> PublishedStream:
        """Return an encoder for one clip that takes its frames chunk by chunk."""
        return PublishedStream(self.config, self.steps, self.quantizer)

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Decode codes to clips, uint8 [T, H, W, 3]; grey levels are rounded to the nearest."""
        return self._decoded(codes, uint8_from_pixels)

    @torch.inference_mode()
    def decode_pixels(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Like ``decode``, before rounding to grey levels: float32 [T, H, W, 3], clamped to [−1, 1]."""
        return self._decoded(codes, lambda pixels_nHWC: pixels_nHWC)

    @torch.inference_mode()
    def decode_pyramids(self, codes: Sequence[Tensor], grids: Sequence[Grid]) -> list[Tensor]:
        """Decode images of the first scales, or of all: see ``contract.DecodesPyramids``."""
        quantizer = self.quantizer
        if not isinstance(quantizer, ResidualBSQ):
            raise UsageError(f"{self.config.architecture} has no pyramids: decode its codes by decode.")
        for codes_nD, shape_thw in zip(codes, grids, strict=True):
            check_scales_fit(codes_nD, self.geometry, shape_thw)
        return [
            decoded_image(self.steps, quantizer.values_of_scales(codes_nD.to(self.device), shape_thw))
            for codes_nD, shape_thw in zip(codes, grids, strict=True)
        ]

    def _decoded(self, codes: Sequence[Tensor], kept: Callable[[Tensor], Tensor]) -> list[Tensor]:
        quantizer = self.quantizer
        if isinstance(quantizer, ResidualBSQ):
            raise UsageError("The codes of a pyramid do not tell its grid: decode them by decode_pyramids.")
        for codes_thwD in codes:
            check_codes_fit(codes_thwD, self.geometry)
        return [self._decoded_clip(codes_thwD, quantizer, kept) for codes_thwD in codes]

    def _decoded_clip(
        self, codes_thwD: Tensor, quantizer: Quantizer, kept: Callable[[Tensor], Tensor]
    ) -> Tensor:
        chunks = map(kept, decoded_chunks(self.steps, quantizer, codes_thwD))
        return joined(chunks, self.geometry.frames_of_rows(len(codes_thwD)))
