"""Encodes and decodes one clip row by row.

Axes: T frames, n frames of a chunk, s frames of a row of tokens, H and W pixels, C = 3 colours, t, h and w of
the token grid, D dimensions of a code.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bitmill.bsq_model.bottleneck.bottlenecks import Bottleneck
from bitmill.bsq_model.causal_conv.decoder import CausalConvDecoder
from bitmill.bsq_model.causal_conv.encoder import CausalConvEncoder
from bitmill.bsq_model.causal_conv.neighbours import ArrivingClip
from bitmill.bsq_model.checks import check_clip_fits, check_finite, check_frames_fit
from bitmill.bsq_model.layers.past_frames import exact_convolutions
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.schemas.models.geometry import Geometry


class RowStream:
    """Encodes one row of tokens after the other; fulfils ``contract.ClipStream``."""

    def __init__(self, geometry: Geometry, encoder: CausalConvEncoder, bottleneck: Bottleneck) -> None:
        self._geometry, self._encoder, self._bottleneck = geometry, encoder, bottleneck
        self._arriving = ArrivingClip()
        self._is_start = True

    @torch.inference_mode()
    def push(self, frames_nHWC: Tensor) -> Tensor:
        """Encode the next frames, uint8 [n, H, W, 3], to codes [rows, h, w, D].

        n is a legal length at the start of the clip and k·``frames_per_token`` later.
        """
        return self._bottleneck.bits_of_latents(self.push_latents(frames_nHWC))

    @torch.inference_mode()
    def push_latents(self, frames_nHWC: Tensor) -> Tensor:
        """Like ``push``, before quantizing: float32 [rows, h, w, D]."""
        geometry = self._geometry
        check_frames_fit(frames_nHWC, geometry)
        if self._is_start:
            check_clip_fits(frames_nHWC, geometry)
        elif not len(frames_nHWC) or len(frames_nHWC) % geometry.frames_per_token:
            raise ValueError(
                f"a later chunk must have k·{geometry.frames_per_token} frames, not {len(frames_nHWC)}"
            )
        weights = next(self._encoder.parameters())
        rows_tsHWC = rows_of_frames(
            frames_nHWC.to(weights.device), geometry, has_lead=self._is_start and bool(geometry.lead_frames)
        )
        self._is_start = False
        with exact_convolutions():
            # Row by row, so that every operation has the same shape whatever follows the row.
            latents = [
                self._encoder(pixels_from_uint8(row_1sHWC, weights.dtype), self._arriving)
                for row_1sHWC in rows_tsHWC.split(1)
            ]
        return check_finite(torch.cat(latents), "latents")


def rows_of_frames(frames_xTHWC: Tensor, geometry: Geometry, *, has_lead: bool) -> Tensor:
    """Return frames by rows of tokens, [..., t, s, H, W, C]; a lead frame fills its row alone."""
    size = geometry.frames_per_token
    if has_lead:
        # The lead frame once more for each frame that its row has room for.
        lead = frames_xTHWC[..., :1, :, :, :].expand(*frames_xTHWC.shape[:-4], size - 1, -1, -1, -1)
        frames_xTHWC = torch.cat((lead, frames_xTHWC), dim=-4)
    return frames_xTHWC.unflatten(-4, (-1, size))


def decoded_rows(geometry: Geometry, decoder: CausalConvDecoder, codes: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield a clip's frames in order, float32 [n, H, W, 3], clamped to [−1, 1]; of codes [1, h, w, D]."""
    of_rows, of_frames = ArrivingClip(), ArrivingClip()
    for number, codes_1hwD in enumerate(codes):
        with exact_convolutions():
            frames = decoder.rows(codes_1hwD, of_rows)[0]
            if not number and geometry.lead_frames:
                frames = frames[-1:]
            pixels_nHWC = decoder.frames(frames, of_frames)
        yield check_finite(pixels_nHWC, "pixels").float().clamp(-1, 1)
