"""Data-parallel training: what processes must say to each other beside their gradients.

All functions do nothing where ``torch.distributed`` was not set up, so that one process is no special case.
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def num_processes() -> int:
    """World size; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_across(x: Tensor) -> Tensor:
    """The mean over all processes, differentiable: gradients flow back to each process's own part."""
    if num_processes() == 1:
        return x
    mean: Tensor = _MeanAcross.apply(x)
    return mean


class _MeanAcross(torch.autograd.Function):
    """Every process sees the same mean, so each one's part has had an effect on every process's loss."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return _mean(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return _mean(gradients[0])


def _mean(x: Tensor) -> Tensor:
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / num_processes()


@torch.no_grad()
def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace gradients by their mean over all processes, in one message."""
    if num_processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= num_processes()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


@torch.no_grad()
def mean_values(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Measurements by name, of equal names and shapes on all processes, as their means over these."""
    if num_processes() == 1 or not values:
        return values
    flat = torch.cat([value.float().flatten() for value in values.values()])
    dist.all_reduce(flat)
    parts = (flat / num_processes()).split([value.numel() for value in values.values()])
    return {name: part.view_as(values[name]) for name, part in zip(values, parts, strict=True)}
