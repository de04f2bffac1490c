"""Tokenizers of any geometry without weights: a token is its patch's mean grey level, in steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bitmill.schemas.models.geometry import Code, Geometry

VIDEO = Geometry(
    patch_px=(8, 8),
    frames_per_token=4,
    lead_frames=1,
    max_frames=9,
    size_px=(32, 32),
    code=Code.of_digits((8, 5, 3)),
    promises=("causal", "prefix"),
)
"""Digits; 1, 5 or 9 frames."""

OBLONG = Geometry(patch_px=(8, 16), max_frames=4, code=Code.of_index(100), size_multiple_px=(16, 16))
"""An index; patches are not square, and frames of any multiple of 16."""

PYRAMID = Geometry(
    layout="pyramid",
    patch_px=(16, 16),
    max_frames=1,
    size_px=(32, 32),
    code=Code.of_index(50),
    schedules={"2x2": ((1, 1, 1), (1, 2, 2))},
)


class CountingTokenizer:
    """Maps each token's pixels to their mean, of which its code is the number; back to even patches."""

    def __init__(self, geometry: Geometry = VIDEO, fingerprint: str = "ab" * 16) -> None:
        self.geometry, self.fingerprint = geometry, fingerprint

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "CountingTokenizer":
        return self

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [self._encoded(clip) for clip in clips]

    def decode(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        return [self._decoded(one) for one in codes]

    def _encoded(self, clip_THWC: Tensor) -> Tensor:
        told = self.geometry
        assert told.is_legal(len(clip_THWC))
        height, width = told.grid(*clip_THWC.shape[1:3])
        patches = clip_THWC.float().mean(-1).unflatten(1, (height, -1)).unflatten(3, (width, -1))
        means_Thw = patches.mean((2, 4))
        # The lead frame by itself, then the mean of each row's frames.
        lead, rest = means_Thw[: told.lead_frames], means_Thw[told.lead_frames :]
        means_thw = torch.cat([lead, rest.unflatten(0, (-1, told.frames_per_token)).mean(1)])
        if told.layout == "pyramid":
            means_thw = torch.cat([means_thw.mean()[None], means_thw.flatten()])
        number = (means_thw / 256 * told.code.num_codes).long()
        digits: list[Tensor] = []
        for base in told.code.bases:
            digits.append(number % base)
            number = number // base
        return torch.stack(digits, dim=-1)

    def _decoded(self, codes: Tensor) -> Tensor:
        told = self.geometry
        number, weight = torch.zeros(codes.shape[:-1]), 1
        for dimension, base in enumerate(told.code.bases):
            number += codes[..., dimension] * weight
            weight *= base
        grey = ((number + 0.5) / told.code.num_codes * 256).floor()
        if told.layout == "pyramid":
            grey = grey[1:].view(1, 2, 2)
        frames = torch.cat(
            [grey[: told.lead_frames], grey[told.lead_frames :].repeat_interleave(told.frames_per_token, 0)]
        )
        assert told.is_legal(len(frames))
        pixels = frames.repeat_interleave(told.patch_px[0], 1).repeat_interleave(told.patch_px[1], 2)
        return pixels.to(torch.uint8)[..., None].expand(*pixels.shape, 3).contiguous()


def video() -> CountingTokenizer:
    """As an entry point names it."""
    return CountingTokenizer()
