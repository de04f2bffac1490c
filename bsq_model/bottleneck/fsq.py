"""Finite scalar quantization (arXiv 2309.15505): each latent dimension is bounded and rounded to a digit.

Axes: ``x`` any, D dimensions of a code, dimension d of which has ``levels[d]`` values. All in float32, since
decisions lie close to rounding boundaries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_MARGIN = 1e-3
"""Widens the bound, so that the outermost digits are reached by finite latents."""


def digits_of_latents(v_xD: Tensor, levels: Sequence[int]) -> Tensor:
    """Return digits, int64 [..., D], dimension d in [0, levels[d]); the latents must be finite."""
    return _digits(_bounded(v_xD, levels), levels)


def rounded(v_xD: Tensor, levels: Sequence[int]) -> Tensor:
    """Return ``values_of_digits(digits_of_latents(v))`` with the straight-through gradient of the bound.

    Exactly, or NaN if ``v`` is not finite, so that the loss shows it.
    """
    bounded_xD = _bounded(v_xD, levels)
    values_xD = values_of_digits(_digits(bounded_xD.detach(), levels), levels)
    return values_xD + (bounded_xD - bounded_xD.detach()) / _middle(levels, v_xD.device)


def values_of_digits(digits_xD: Tensor, levels: Sequence[int]) -> Tensor:
    """Return the decoder's input, float32 [..., D] in [−1, 1]; the middle digit, levels[d] // 2, gives 0."""
    middle_D = _middle(levels, digits_xD.device)
    return (digits_xD - middle_D).float() / middle_D


def _bounded(v_xD: Tensor, levels: Sequence[int]) -> Tensor:
    levels_D = torch.tensor(levels, dtype=torch.float32, device=v_xD.device)
    half_D = (levels_D - 1) * (1 + _MARGIN) / 2
    # An even number of levels has no middle one: the bound is shifted by half a level.
    offset_D = 0.5 * (levels_D % 2 == 0)
    return torch.tanh(v_xD.float() + torch.atanh(offset_D / half_D)) * half_D - offset_D


def _digits(bounded_xD: Tensor, levels: Sequence[int]) -> Tensor:
    """Round; of more than 1,000 levels, the margin is as wide as half a level and would reach beyond them."""
    last_D = torch.tensor(levels, device=bounded_xD.device) - 1
    digits_xD = bounded_xD.round().long() + _middle(levels, bounded_xD.device)
    return digits_xD.clamp_min(0).minimum(last_D)


def _middle(levels: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor([count // 2 for count in levels], device=device)
