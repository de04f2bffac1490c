"""Encodes and decodes one clip chunk by chunk: the lead frame, then the frames of a row of tokens at a time.

Axes: T frames, n frames of a chunk, H and W pixels, C = 3 colours, t, h and w of the token grid, L channels
of the latents, D dimensions of a code.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from bitmill.bsq_model.checks import check_clip_fits, check_finite, check_frames_fit
from bitmill.bsq_model.layers.past_frames import Past, exact_convolutions
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.published.graphed_steps import Steps
from bitmill.bsq_model.published.quantizers import Quantizer, ResidualBSQ
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig


class PublishedStream:
    """Encodes one row of tokens after the other; fulfils ``contract.ClipStream``."""

    def __init__(self, config: PublishedConfig, network: Steps, quantizer: Quantizer | ResidualBSQ) -> None:
        self._config, self._network, self._quantizer = config, network, quantizer
        self._weights = next(network.parameters())
        self._past = Past()
        self._num_frames = 0

    def push(self, frames_nHWC: Tensor) -> Tensor:
        """Encode the next frames, uint8 [n, H, W, 3], to codes [rows, h, w, D].

        n is a legal length at the start of the clip and k·``frames_per_token`` later.
        """
        return self._quantizer.codes_of_latents(self.push_latents(frames_nHWC))

    @torch.inference_mode()
    def push_latents(self, frames_nHWC: Tensor) -> Tensor:
        """Like ``push``, before quantizing: float32 [rows, h, w, L]."""
        self._check(frames_nHWC)
        geometry = self._config.geometry
        parts = (frames_nHWC,)
        if self._past.is_start:
            least = geometry.least_frames
            parts = frames_nHWC[:least], frames_nHWC[least:]
        chunks = [chunk for part in parts if len(part) for chunk in part.split(geometry.frames_per_token)]
        self._num_frames += len(frames_nHWC)
        return check_finite(torch.cat([self._latents(chunk_nHWC) for chunk_nHWC in chunks]), "latents")

    def _check(self, frames_nHWC: Tensor) -> None:
        geometry, num_new = self._config.geometry, len(frames_nHWC)
        if self._past.is_start:
            check_clip_fits(frames_nHWC, geometry)
            return
        check_frames_fit(frames_nHWC, geometry)
        step = geometry.frames_per_token
        if not num_new or num_new % step:
            raise ValueError(f"a later chunk must have k·{step} frames, not {num_new}")
        if not geometry.is_legal(self._num_frames + num_new):
            raise ValueError(f"a clip has at most {geometry.most_frames} frames: begin another stream")

    def _latents(self, chunk_nHWC: Tensor) -> Tensor:
        pixels_nHWC = pixels_from_uint8(chunk_nHWC.to(self._weights.device), self._weights.dtype)
        with exact_convolutions():
            latents_thwL = self._network.latents(pixels_nHWC, self._past)
        self._past.is_start = False
        return latents_thwL.float()


def decoded_chunks(network: Steps, quantizer: Quantizer, codes_thwD: Tensor) -> Iterator[Tensor]:
    """Yield a clip's frames in order, float32 [n, H, W, 3], clamped to [−1, 1]."""
    device, past = next(network.parameters()).device, Past()
    for row, codes_1hwD in enumerate(codes_thwD.split(1), start=1):
        values_1hwL = quantizer.values_of_codes(codes_1hwD.to(device))
        yield _pixels(network, values_1hwL, past, is_end=row == len(codes_thwD))


def decoded_image(network: Steps, values_1hwL: Tensor) -> Tensor:
    """Return the image of the quantizer's values, float32 [1, H, W, 3], clamped to [−1, 1]."""
    return _pixels(network, values_1hwL, Past(), is_end=True)


def _pixels(network: Steps, values_1hwL: Tensor, past: Past, *, is_end: bool) -> Tensor:
    with exact_convolutions():
        pixels_nHWC = network.pixels(values_1hwL.to(next(network.parameters()).dtype), past, is_end=is_end)
    past.is_start = False
    return check_finite(pixels_nHWC, "pixels").float().clamp(-1, 1)
