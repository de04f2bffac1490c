"""The forms in which a sample's tokens can be had, from the packed codes to tensors."""

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch

from schemas.errors import BadJobError
from schemas.packing import Buffer, unpack_bits, unpack_groups, unpack_integers, unpack_values

View = Literal["bits", "values", "groups", "integers", "packed"]
"""bits: bool [T, h, w, L], code bit 0 first. values: float32 [T, h, w, L] of ±1/√L, the decoder's input.
groups: int64 [T, h, w, L/g] in [0, 2^g). integers: int64 [T, h, w] in [0, 2^L), for L ≤ 63.
packed: uint8 [ceil(T·h·w·L/8)], as stored."""


def check_view(view: View, bits_per_token: int, group_bits: int | None) -> None:
    """Raise BadJobError where tokens of L bits cannot be had in this view."""
    if view not in ("bits", "values", "groups", "integers", "packed"):
        raise BadJobError(f"Unknown view {view!r}; take bits, values, groups, integers or packed.")
    if view == "integers" and bits_per_token > 63:
        raise BadJobError(f"Tokens of {bits_per_token} bits do not fit int64; take the view 'groups'.")
    if view == "groups" and (group_bits is None or group_bits < 1 or bits_per_token % group_bits):
        raise BadJobError(
            f"The view 'groups' needs group_bits that divide the {bits_per_token} bits of a token, "
            f"not {group_bits}."
        )
    if view != "groups" and group_bits is not None:
        raise BadJobError("group_bits belongs to the view 'groups'.")


def view_tokens(
    codes: Buffer, shape_THW: tuple[int, int, int], bits_per_token: int, view: View, group_bits: int | None
) -> torch.Tensor:
    """A clip's packed codes as the tensor of a view. Raises ValueError where the codes are damaged."""
    if view == "packed":
        return torch.from_numpy(np.frombuffer(codes, dtype=np.uint8).copy())
    num_tokens = shape_THW[0] * shape_THW[1] * shape_THW[2]
    array: npt.NDArray[Any]
    if view == "bits":
        array = unpack_bits(codes, num_tokens, bits_per_token)
    elif view == "values":
        array = unpack_values(codes, num_tokens, bits_per_token)
    elif view == "groups":
        array = unpack_groups(codes, num_tokens, bits_per_token, cast(int, group_bits))
    else:
        array = unpack_integers(codes, num_tokens, bits_per_token)
    return torch.from_numpy(array.reshape(*shape_THW, *array.shape[1:]))
