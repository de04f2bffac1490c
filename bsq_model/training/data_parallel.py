"""Collective operations of data-parallel training, apart from DistributedDataParallel's gradients.

Without ``torch.distributed`` set up, all functions do nothing, so that one process needs no special case.
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def num_processes() -> int:
    """Return the world size; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_across(x: Tensor) -> Tensor:
    """Return the mean over all processes; gradients flow back to each process's own part."""
    if num_processes() == 1:
        return x
    mean: Tensor = _MeanAcross.apply(x)
    return mean


class _MeanAcross(torch.autograd.Function):
    """All-reduces in both directions: each process's part affects every process's loss."""

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
    """Replace gradients by their mean over all processes, with one all-reduce."""
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
    """Return the means over processes of measurements with equal names and shapes on all processes."""
    if num_processes() == 1 or not values:
        return values
    # Times are measured on the CPU, of which NCCL knows nothing.
    device = max((value.device for value in values.values()), key=lambda one: one.type != "cpu")
    flat = torch.cat([value.to(device).float().flatten() for value in values.values()])
    dist.all_reduce(flat)
    parts = (flat / num_processes()).split([value.numel() for value in values.values()])
    return {name: part.view_as(values[name]) for name, part in zip(values, parts, strict=True)}
