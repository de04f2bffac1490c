"""Schedules of how many groups are hidden in training and at each sampling step. Pure functions.

Axes: B clips, T frames, h and w tokens, G groups of a token.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def shares(num_clips: int, generator: torch.Generator) -> Tensor:
    """Draw shares to hide in training, float32 [B]: ``cos(πu/2)`` with u uniform in [0, 1)."""
    return torch.cos(math.pi / 2 * torch.rand(num_clips, generator=generator))


def hide(
    grid: Sequence[int],
    share_B: Tensor,
    num_groups: int,
    generator: torch.Generator,
    *,
    whole_tokens: bool = False,
) -> Tensor:
    """Draw groups of a grid [B, T, h, w] to hide, with probability ``share``: bool [B, T, h, w, G] on CPU."""
    drawn = torch.rand(*grid, 1 if whole_tokens else num_groups, generator=generator)
    return (drawn < share_B.view(-1, 1, 1, 1, 1)).expand(*grid, num_groups)


def hidden_after(step: int, steps: int, num_hidden: int) -> int:
    """Return how many groups are hidden after ``step`` of ``steps`` (1 ≤ step).

    That is ``⌊n·cos(π/2·step/steps)⌋``, finally 0; every step shows at least one group, so that it has an
    effect.
    """
    if step >= steps:
        return 0
    by_cosine = int(num_hidden * math.cos(math.pi / 2 * step / steps))
    return min(by_cosine, max(num_hidden - step, 0))
