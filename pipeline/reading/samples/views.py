"""The views of tokens (bits, digits, values, groups, integers, packed) and the tensors that they produce."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from bitmill.pipeline.reading.kernels.unpack import unpack_clip
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.models.geometry import MAX_INDEX_BITS, Code, Grid
from bitmill.schemas.nearest_name import did_you_mean

View = Literal["bits", "digits", "values", "groups", "integers", "packed"]
"""The form of a clip's tokens, with a grid's axes T (token rows), h, w; a pyramid has [N] in their place.

- bits: bool [T, h, w, L], dimension 0 first. Of a code of bits.
- digits: int64 [T, h, w, D], dimension 0 first; an index is one digit, a bit is 0 or 1.
- values: float32 [T, h, w, D], the decoder's input: ±1/√L of a bit, FSQ's (digit − ⌊levels/2⌋) / ⌊levels/2⌋
  of a digit. Not of an index.
- groups: int64 [T, h, w, L/g] in [0, 2^g), group 0 from the first g bits; within a group the bits are ordered
  as in the stored index. Of a code of bits.
- integers: int64 [T, h, w] in [0, K), the stored index, for L ≤ 63.
- packed: uint8 [ceil(T·h·w·L/8)], as stored.

That an index is below the number of codes K is not checked: only damage makes others, which checksums and
``bitmill audit`` find. ``integers`` returns such an index, ``digits`` the digits of its remainder by K.
"""

_DTYPES: dict[str, torch.dtype] = {
    "bits": torch.bool,
    "digits": torch.int64,
    "values": torch.float32,
    "groups": torch.int64,
    "integers": torch.int64,
    "packed": torch.uint8,
}

_NUMPY: dict[torch.dtype, type[np.generic]] = {
    torch.bool: np.bool_,
    torch.float32: np.float32,
    torch.int64: np.int64,
    torch.uint8: np.uint8,
}

_VIEWS: dict[str, tuple[View, ...]] = {
    "bits": ("bits", "digits", "values", "groups", "integers", "packed"),
    "digits": ("digits", "values", "integers", "packed"),
    "index": ("digits", "integers", "packed"),
}
"""By kind of code."""

_MAX_SPECIAL_BITS = 61


@dataclass(frozen=True)
class TokenView:
    """A view of a code's tokens. Raises WrongArgumentError if the code does not support it."""

    view: View
    code: Code
    group_bits: int | None = None

    def __post_init__(self) -> None:
        kind, bits, group_bits = self.code.kind, self.code.bits_per_token, self.group_bits
        if self.view not in _DTYPES:
            near = did_you_mean(self.view, _DTYPES)
            raise WrongArgumentError(
                f"Unknown view {self.view!r}{near}; choose {_listed(_VIEWS['bits'], 'or')}."
            )
        if self.view not in _VIEWS[kind]:
            raise WrongArgumentError(
                f"The tokens are codes of kind {kind!r}, which have no view {self.view!r}; they have "
                f"{_listed(_VIEWS[kind], 'and')}."
            )
        if self.view == "integers" and bits > MAX_INDEX_BITS:
            raise WrongArgumentError(f"Tokens of {bits} bits do not fit int64; use the view 'groups'.")
        if self.view == "groups" and (
            group_bits is None or not 1 <= group_bits <= MAX_INDEX_BITS or bits % group_bits
        ):
            raise WrongArgumentError(
                f"The view 'groups' needs group_bits that divide the {bits} bits of a token, not "
                f"{group_bits}."
            )
        if self.view != "groups" and group_bits is not None:
            raise WrongArgumentError("group_bits needs the view 'groups'.")

    @classmethod
    def of(cls, view: View | None, code: Code, group_bits: int | None) -> "TokenView":
        """Return this view, or, for None, ``bits`` of a code of bits and else ``digits``."""
        return cls(view or ("bits" if code.kind == "bits" else "digits"), code, group_bits)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The tensor's type."""
        return _DTYPES[self.view]

    @cached_property
    def numpy_dtype(self) -> type[np.generic]:
        """The NumPy type that corresponds to ``dtype``."""
        return _NUMPY[self.dtype]

    @cached_property
    def num_values(self) -> int:
        """Number of values per token; 1 for integers, whose tensor has no axis for it, and for packed."""
        if self.view in ("integers", "packed"):
            return 1
        return self.code.bits_per_token // self.group_bits if self.group_bits else self.code.dimensions

    def size(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """The tensor's shape for tokens of a grid, or of other axes."""
        if self.view == "packed":
            return (packed_size(prod(places), self.code.bits_per_token),)
        return places if self.view == "integers" else (*places, self.num_values)

    @property
    def special_tokens(self) -> tuple[int, int] | None:
        """Tokens for a clip's start and a frame's start: the first two integers that are no token or group.

        None for views that cannot represent them.
        """
        if self.view == "groups":
            count = 1 << (self.group_bits or 0)
        elif self.view == "integers" or (self.view == "digits" and self.code.kind == "index"):
            count = self.code.num_codes
        else:
            return None
        return (count, count + 1) if count <= 1 << _MAX_SPECIAL_BITS else None

    def clip(self, codes: npt.NDArray[np.uint8], start: int, places: tuple[int, ...]) -> torch.Tensor:
        """The clip whose codes begin at ``start``, followed by ``SPARE_BYTES``, as a tensor."""
        size = self.size(places)
        if self.view == "packed":
            return torch.from_numpy(codes[start : start + size[0]].copy())
        out = np.empty(size, self.numpy_dtype)
        unpack_clip(codes, start, out.reshape(-1, self.num_values), self.code)
        return torch.from_numpy(out)


def cut_scales(tokens: torch.Tensor, grids: Sequence[Grid], axis: int = 0) -> list[torch.Tensor]:
    """Cut the axis N of a pyramid's tokens into its scales: [t, h, w] in its place. Copies nothing."""
    parts = tokens.split([prod(grid) for grid in grids], dim=axis)
    return [part.unflatten(axis, grid) for part, grid in zip(parts, grids, strict=True)]


def _listed(views: Sequence[View], last: str) -> str:
    return f"{', '.join(views[:-1])} {last} {views[-1]}"
