"""The views of tokens (bits, values, groups, integers, packed) and the tensors that they produce."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from bitmill.pipeline.reading.kernels.unpack import unpack_clip
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.errors import WrongArgumentError

View = Literal["bits", "values", "groups", "integers", "packed"]
"""bits: bool [T, h, w, L], code bit 0 first. values: float32 [T, h, w, L] of ±1/√L, the decoder's input.
groups: int64 [T, h, w, L/g] in [0, 2^g). integers: int64 [T, h, w] in [0, 2^L), for L ≤ 63.
packed: uint8 [ceil(T·h·w·L/8)], as stored."""

_DTYPES: dict[str, torch.dtype] = {
    "bits": torch.bool,
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


def check_view(view: View, bits_per_token: int, group_bits: int | None) -> None:
    """Raise WrongArgumentError if tokens of L bits do not support this view."""
    if view not in _DTYPES:
        raise WrongArgumentError(f"Unknown view {view!r}; choose bits, values, groups, integers or packed.")
    if view == "integers" and bits_per_token > 63:
        raise WrongArgumentError(f"Tokens of {bits_per_token} bits do not fit int64; use the view 'groups'.")
    if view == "groups" and (group_bits is None or not 1 <= group_bits <= 63 or bits_per_token % group_bits):
        raise WrongArgumentError(
            f"The view 'groups' needs group_bits that divide the {bits_per_token} bits of a token, not "
            f"{group_bits}."
        )
    if view != "groups" and group_bits is not None:
        raise WrongArgumentError("group_bits needs the view 'groups'.")


def element_of(view: View, bits_per_token: int, group_bits: int | None) -> tuple[torch.dtype, int]:
    """The dtype of a view's tensor, and the number of values per token (1 for integers)."""
    if view in ("integers", "packed"):
        return _DTYPES[view], 1
    return _DTYPES[view], bits_per_token // group_bits if group_bits else bits_per_token


def numpy_of(dtype: torch.dtype) -> type[np.generic]:
    """The NumPy type that corresponds to a torch dtype."""
    return _NUMPY[dtype]


def special_tokens(view: View, value_bits: int) -> tuple[int, int] | None:
    """Tokens for a clip's start and a frame's start: the first two indices beyond ``value_bits`` bits.

    None for views that cannot represent them.
    """
    if view not in ("groups", "integers") or value_bits > 61:
        return None
    return 2**value_bits, 2**value_bits + 1


def view_clip(  # noqa: PLR0917 - called for every clip
    codes: npt.NDArray[np.uint8],
    start: int,
    shape_THW: Sequence[int],
    bits_per_token: int,
    view: View,
    group_bits: int | None,
) -> torch.Tensor:
    """The clip whose codes begin at ``start``, followed by ``SPARE_BYTES``, as a tensor of a view."""
    frames, height, width = shape_THW
    num_tokens = frames * height * width
    if view == "packed":
        return torch.from_numpy(codes[start : start + packed_size(num_tokens, bits_per_token)].copy())
    dtype, values = element_of(view, bits_per_token, group_bits)
    out = np.empty((num_tokens, values), _NUMPY[dtype])
    unpack_clip(codes, start, out, bits_per_token)
    grid = (frames, height, width) if view == "integers" else (frames, height, width, values)
    return torch.from_numpy(out.reshape(grid))
