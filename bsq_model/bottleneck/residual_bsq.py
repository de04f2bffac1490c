"""Residual BSQ over the scales of a pyramid: a latent map to bits, and bits to the sums that decoders take.

Han et al., *Infinity* (arXiv 2412.04431), section 3.2: each scale codes what the scales before it left over.
A clip's values depend on no other clip of a batch. Axes: t, h and w of a grid, T, H and W of the full one, N
all tokens of a pyramid, n those of its first scales, D bits of a token, ``x`` any.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from bitmill.bsq_model.bottleneck import bsq
from bitmill.schemas.models.geometry import Grid


def scales_of_codes(codes_xnD: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """Cut codes of any dtype into [..., t, h, w, D] of each scale; they may be those of the first ones alone.

    Raises ValueError if they are not the tokens of the first scales.
    """
    ends = list(accumulate(map(prod, grids)))
    if codes_xnD.shape[-2] not in ends:
        raise ValueError(f"{codes_xnD.shape[-2]} tokens are not those of the first scales of {list(grids)}")
    there = grids[: ends.index(codes_xnD.shape[-2]) + 1]
    parts = codes_xnD.split([prod(grid) for grid in there], dim=-2)
    return [part.unflatten(-2, grid) for part, grid in zip(parts, there, strict=True)]


def bits_of_latents(v_THWD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return the bits of all scales, bool [N, D]; the last grid is that of the latents. Computed in float32.

    A scale's bits are the signs of the residual, averaged to the scale's grid. Zero and NaN give False:
    callers that run unknown weights check for finite values first.
    """
    residual_THWD = v_THWD.float()
    scales: list[Tensor] = []
    for grid in grids:
        is_last = len(scales) == len(grids) - 1
        bits_thwD = bsq.bits_of_latents(residual_THWD if is_last else _averaged(residual_THWD, grid))
        scales.append(bits_thwD.flatten(0, 2))
        residual_THWD = residual_THWD - _values(bits_thwD, grids[-1])
    return torch.cat(scales)


def sum_of_bits(bits_xnD: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Return the sum of all scales, or the first ones, which the decoder takes: float32 [..., T, H, W, D]."""
    return sums_of_scales(scales_of_codes(bits_xnD, grids), grids[-1])[-1]


def sums_of_scales(scales: Sequence[Tensor], full: Sequence[int] | None = None) -> list[Tensor]:
    """Return the sum up to each scale, float32 [..., T, H, W, D] each, of bool [..., t, h, w, D].

    A bit stands for ±1/√D, and a scale is interpolated linearly to the full grid: by default the last one.
    """
    full = full or scales[-1].shape[-4:-1]
    sums = [_values(scales[0], full)]
    for bits_xthwD in scales[1:]:
        sums.append(sums[-1] + _values(bits_xthwD, full))
    return sums


def inputs_of_scales(scales: Sequence[Tensor]) -> list[Tensor]:
    """Return what next-scale prediction takes in for each scale but the first: float32 [..., t, h, w, D].

    It is the sum of the scales before, interpolated linearly (not averaged) to the scale's grid, as the
    published code does in training and in sampling.
    """
    sums = sums_of_scales(scales)
    return [
        _interpolated(sum_xTHWD, after.shape[-4:-1])
        for sum_xTHWD, (_, after) in zip(sums, pairwise(scales), strict=False)
    ]


def _values(bits_xthwD: Tensor, full: Sequence[int]) -> Tensor:
    return _interpolated(bsq.codes_of_bits(bits_xthwD, torch.float32), full)


def _averaged(v_xthwD: Tensor, grid: Sequence[int]) -> Tensor:
    return _resized(v_xthwD, grid, "area")


def _interpolated(v_xthwD: Tensor, grid: Sequence[int]) -> Tensor:
    return _resized(v_xthwD, grid, "trilinear")


def _resized(v_xthwD: Tensor, grid: Sequence[int], mode: str) -> Tensor:
    v_BDthw = v_xthwD.flatten(0, -5).movedim(-1, 1) if v_xthwD.ndim > 4 else v_xthwD.movedim(-1, 0)[None]
    resized_BDthw = functional.interpolate(v_BDthw, size=tuple(grid), mode=mode)
    return resized_BDthw.movedim(1, -1).reshape(*v_xthwD.shape[:-4], *grid, v_xthwD.shape[-1])
