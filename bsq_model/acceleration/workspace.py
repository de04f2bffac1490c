"""Reusable buffers for a network's intermediate results.

On CPU, page faults of a new tensor of megabytes cost more than computing it: a pass over an image at base
size spends a tenth of its time there (docs/performance.md). Axes: R rows, D columns.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.acceleration.huge_pages import empty_on_huge_pages


class Workspace:
    """One tensor for each use, reused across layers and frames of one caller."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, use: str, like_RX: Tensor, columns: int) -> Tensor:
        """Return an uninitialized tensor [R, ``columns``], valid until the same use is taken again.

        Frames of fewer rows get the first rows of the same memory, so that sizes may alternate.
        """
        kept = self._kept.get(use)
        rows, like = like_RX.shape[0], (columns, like_RX.dtype, like_RX.device)
        if kept is None or kept.shape[0] < rows or (kept.shape[1], kept.dtype, kept.device) != like:
            kept = self._kept[use] = empty_as(like_RX, (rows, columns))
        return kept if kept.shape[0] == rows else kept[:rows]


class Workspaces:
    """A network's pool of workspaces, one per concurrent caller, kept between calls."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    @contextmanager
    def one(self) -> Generator[Workspace]:
        """Yield a workspace that no other caller uses; threads may share a network."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace()
        yield workspace
        self._free.append(workspace)

    def __deepcopy__(self, memo: object) -> "Workspaces":
        return Workspaces()

    def __reduce__(self) -> tuple[type["Workspaces"], tuple[()]]:
        """Pickle as an empty pool: another process allocates its own memory."""
        return Workspaces, ()


def empty_as(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialized tensor of the same dtype and device; on CPU on huge pages if it fills one."""
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return empty_on_huge_pages([like.new_empty(shape, device="meta")])[0]


def linear_into(layer: nn.Module, x_RD: Tensor, out_RE: Tensor) -> Tensor:
    """Return ``layer(x)``, bit-identical, written to ``out`` if the layer is exactly ``nn.Linear``."""
    if type(layer) is not nn.Linear:
        return layer(x_RD)
    return torch.addmm(layer.bias, x_RD, layer.weight.t(), out=out_RE)


def gelu_in_place(x_RD: Tensor) -> Tensor:
    """Apply the exact GELU, ``x·Φ(x)``, in place."""
    return torch.ops.aten.gelu_(x_RD)


class TanhInPlace(nn.Tanh):
    """Tanh that overwrites its argument if gradients are disabled."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Tanh's name)
        """Return the same shape and dtype."""
        return functional.tanh(input) if torch.is_grad_enabled() else input.tanh_()
