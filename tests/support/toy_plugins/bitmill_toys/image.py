"""toy-image: an index of 1,000 for each 16×16 pixels of one picture; no torch module, no weights."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from bitmill.schemas.models.geometry import Code, Geometry


class ToyImage:
    geometry = Geometry(patch_px=(16, 16), max_frames=1, code=Code.of_index(1000))
    fingerprint = hashlib.sha256(b"toy-image 1").hexdigest()[:32]

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> "ToyImage":
        return self

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [_index(clip_THWC) for clip_THWC in clips]

    def decode(self, codes: Sequence[Tensor], /) -> list[Tensor]:
        return [_picture(index_thw1) for index_thw1 in codes]


def _index(clip_1HWC: Tensor) -> Tensor:
    """The mean of each patch in 10 steps of each colour."""
    sums_1hwC = clip_1HWC.long().unflatten(2, (-1, 16)).unflatten(1, (-1, 16)).sum((2, 4))
    digits = sums_1hwC * 10 // (256 * 256)
    return (digits * torch.tensor([100, 10, 1], device=digits.device)).sum(-1, keepdim=True)


def _picture(index_1hw1: Tensor) -> Tensor:
    digits = index_1hw1 // torch.tensor([100, 10, 1], device=index_1hw1.device) % 10
    levels = (digits * 25 + 12).to(torch.uint8)
    return levels.repeat_interleave(16, 1).repeat_interleave(16, 2)
