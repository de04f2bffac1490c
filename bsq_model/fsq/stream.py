"""Encodes one clip chunk by chunk.

Axes: B = 1 clip, T frames, n frames of a chunk, H and W pixels, C = 3 colours, t, h and w of the token grid,
D dimensions of a code.
"""

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.fsq import digits_of_latents
from bitmill.bsq_model.checks import check_clip_fits, check_finite, check_frames_fit
from bitmill.bsq_model.fsq.networks import FSQNetwork
from bitmill.bsq_model.layers.causal_conv import Past, exact_convolutions
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.schemas.models.any_tokenizer_config import FSQConfig


class FSQStream:
    """Encodes one row of tokens after the other; fulfils ``contract.ClipStream``."""

    def __init__(self, config: FSQConfig, network: FSQNetwork, device: torch.device) -> None:
        self._config, self._network, self._device = config, network, device
        self._past: Past = {}

    @torch.inference_mode()
    def push(self, frames_nHWC: Tensor) -> Tensor:
        """Encode the next frames, uint8 [n, H, W, 3], to digits, int64 [rows, h, w, D].

        n is 1 + k·``frames_per_token`` at the start of the clip and k·``frames_per_token`` later.
        """
        geometry = self._config.geometry
        step = geometry.frames_per_token
        if self._past:
            check_frames_fit(frames_nHWC, geometry)
            if not len(frames_nHWC) or len(frames_nHWC) % step:
                raise ValueError(f"a later chunk must have k·{step} frames, not {len(frames_nHWC)}")
            chunks = frames_nHWC.split(step)
        else:
            check_clip_fits(frames_nHWC, geometry)
            chunks = (frames_nHWC[:1], *(frames_nHWC[1:].split(step) if len(frames_nHWC) > 1 else ()))
        with exact_convolutions():
            rows = [self._latents(chunk_THWC) for chunk_THWC in chunks]
        latents_thwD = check_finite(torch.cat(rows), "latents")
        return digits_of_latents(latents_thwD, self._config.levels)

    def _latents(self, chunk_THWC: Tensor) -> Tensor:
        pixels_THWC = pixels_from_uint8(chunk_THWC.to(self._device), torch.float32)
        pixels_BCTHW = pixels_THWC.movedim(-1, 0)[None].contiguous()
        return self._network.latents(pixels_BCTHW, self._past)[0].movedim(0, -1)
