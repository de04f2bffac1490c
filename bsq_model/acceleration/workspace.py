"""Memory for a network's intermediate results that is there already; it holds no result that anyone keeps.

On CPU each fresh tensor of megabytes costs more in page faults than what computes it: a pass over an image at
base size spends a tenth of its time there (docs/performance.md). Axes: R rows, D columns.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.acceleration.huge_pages import empty_on_huge_pages


class Workspace:
    """One tensor for each use, kept from layer to layer and frame to frame of one caller."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, use: str, like_RX: Tensor, columns: int) -> Tensor:
        """A tensor [R, ``columns``] of undefined values; valid until the same use is taken again."""
        kept = self._kept.get(use)
        shape = (like_RX.shape[0], columns)
        if kept is None or (kept.shape, kept.dtype, kept.device) != (shape, like_RX.dtype, like_RX.device):
            kept = self._kept[use] = empty_as(like_RX, shape)
        return kept


class Workspaces:
    """Workspaces of one network: as many as there are callers at the same time, kept between calls."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    @contextmanager
    def one(self) -> Generator[Workspace]:
        """A workspace that no other caller has; threads may share a network."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace()
        yield workspace
        self._free.append(workspace)

    def __deepcopy__(self, memo: object) -> "Workspaces":
        return Workspaces()

    def __reduce__(self) -> tuple[type["Workspaces"], tuple[()]]:
        """A copy in another process starts without memory."""
        return Workspaces, ()


def empty_as(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undefined values of the same dtype on the same device; on CPU in huge pages where it fills one."""
    if like.device.type != "cpu":
        return like.new_empty(shape)
    return empty_on_huge_pages([like.new_empty(shape, device="meta")])[0]


def linear_into(layer: nn.Module, x_RD: Tensor, out_RE: Tensor) -> Tensor:
    """``layer(x)``, the same in every bit, in ``out`` where the layer is torch's own, with its bias."""
    if type(layer) is not nn.Linear:
        return layer(x_RD)
    return torch.addmm(layer.bias, x_RD, layer.weight.t(), out=out_RE)


def gelu_in_place(x_RD: Tensor) -> Tensor:
    """The exact GELU, ``x·Φ(x)``, in place of its argument."""
    return torch.ops.aten.gelu_(x_RD)


class TanhInPlace(nn.Tanh):
    """Tanh that overwrites its argument where no gradient needs it."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Tanh's name)
        """The same shape and dtype."""
        return functional.tanh(input) if torch.is_grad_enabled() else input.tanh_()
