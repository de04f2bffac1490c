"""Spatial positions of a ViT on other grids than that of its weights: interpolated, and kept.

Axes: h and w tokens, N = h·w in row-major order, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

Grid = tuple[int, int]
"""h, w: tokens along the height and the width of a frame."""

_MOST_TABLES = 16
"""Tables kept per network, 6 MB each at base size; the oldest is evicted first."""


class InterpolatedPositions:
    """Tables [N, D] for any grid, by ``interpolate_positions`` of a network's parameter.

    They are computed on CPU from the float32 weights, then take the parameter's device and dtype; so the
    device changes no value. A cast parameter's float32 weights are kept for it.
    """

    def __init__(self, grid: Grid) -> None:
        self._own_grid = grid
        self._float32_ND: Tensor | None = None
        self._tables: dict[Grid, Tensor] = {}
        self._made_of: tuple[nn.Parameter, int] | None = None

    def table(self, own_ND: nn.Parameter, grid: Grid) -> Tensor:
        """Return the table of ``grid``; of the weights' own grid, the parameter itself."""
        if grid == self._own_grid:
            return own_ND
        self._follow(own_ND)
        table_ND = self._tables.get(grid)
        if table_ND is None:
            table_ND = self._interpolated(own_ND, grid)
            # A new dict, because another thread may be reading the old one.
            kept = list(self._tables.items())[-_MOST_TABLES + 1 :]
            self._tables = dict(kept) | {grid: table_ND}
        return table_ND

    def note_move(self, before_ND: Tensor, after_ND: Tensor) -> None:
        """Take note that the parameter was moved or cast."""
        if after_ND.dtype == torch.float32:
            self._float32_ND = None
        elif before_ND.dtype == torch.float32:
            self._float32_ND = before_ND.cpu()
        self._tables = {}

    def forget_cast(self) -> None:
        """Take note that other weights were loaded: they are not those that were cast."""
        self._float32_ND = None
        self._tables = {}

    def _follow(self, own_ND: nn.Parameter) -> None:
        """Drop the tables if the parameter was replaced, or changed in place."""
        version = 0 if own_ND.is_inference() else own_ND._version  # pyright: ignore[reportPrivateUsage]
        if self._made_of is None or self._made_of[0] is not own_ND or self._made_of[1] != version:
            self._tables, self._made_of = {}, (own_ND, version)

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _interpolated(self, own_ND: nn.Parameter, grid: Grid) -> Tensor:
        exact_ND = own_ND.detach().float().cpu() if self._float32_ND is None else self._float32_ND
        return interpolate_positions(exact_ND, self._own_grid, grid).to(own_ND)


def interpolate_positions(positions_ND: Tensor, grid: Grid, new_grid: Grid) -> Tensor:
    """Resample the positions [N, D] of ``grid`` for ``new_grid``, float32; for the same grid, a copy.

    Bicubic between cell centres, as is usual for resizing ViTs (arXiv 2010.11929, section 3.2).
    """
    if grid == new_grid:
        return positions_ND.clone()
    grid_1Dhw = positions_ND.float().T.unflatten(1, grid)[None]
    if new_grid[0] > new_grid[1] == 1:
        # torch 2.13 makes wrong values of more than one row of one cell; of one row of cells it does not.
        return _resampled(grid_1Dhw.mT, (1, new_grid[0]))
    return _resampled(grid_1Dhw, new_grid)


def _resampled(grid_1Dhw: Tensor, size: Grid) -> Tensor:
    # When the grid grows, the antialiased form is Catmull-Rom, which keeps straight lines straight; torch's
    # other bicubic form does not.
    resized = functional.interpolate(grid_1Dhw, size, mode="bicubic", align_corners=False, antialias=True)
    return resized[0].flatten(1).T.contiguous()
