"""Tokenizers that fail as plugins of others may: each in one way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .image import ToyImage


class Shape(ToyImage):
    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [torch.cat([codes, codes]) for codes in super().encode(clips)]


class Range(ToyImage):
    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [codes + 1000 for codes in super().encode(clips)]


class Dtype(ToyImage):
    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [codes.float() for codes in super().encode(clips)]


class Nan(ToyImage):
    """What is computed of latents that are not finite: no index."""

    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        return [(codes * torch.nan).long() for codes in super().encode(clips)]


class Encode(ToyImage):
    def encode(self, clips: Sequence[Tensor], /) -> list[Tensor]:
        raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")


class NoGeometry(ToyImage):
    @property
    def geometry(self) -> object:  # type: ignore[override]
        raise ValueError("size must be 4 at least")


class Options(ToyImage):
    def __init__(self, *, levels: int = 10) -> None:
        raise ValueError(f"levels must be 10, not {levels}")
