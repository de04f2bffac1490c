import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bitmill.bsq_model.layers.positions import Grid, InterpolatedPositions, interpolate_positions

GRIDS = st.tuples(st.integers(2, 12), st.integers(2, 12))


@given(grid=GRIDS, new=st.tuples(st.integers(2, 24), st.integers(2, 24)))
def test_a_plane_of_positions_stays_one_inside(grid: Grid, new: Grid) -> None:
    # Catmull-Rom reproduces straight lines, a filter that shrinks nearly; only near the edges is it clamped.
    table = torch.stack([places.flatten() for places in _centres(grid)], dim=1)
    found = interpolate_positions(table, grid, new).unflatten(0, new)
    margins = [max(3, round(3 * after / before)) for before, after in zip(grid, new, strict=True)]
    inside = tuple(slice(margin, after - margin) for margin, after in zip(margins, new, strict=True))
    tolerance = 1e-5 if new[0] >= grid[0] and new[1] >= grid[1] else 1e-2
    for axis, expected in enumerate(_centres(new)):
        assert torch.allclose(found[(*inside, axis)], expected[inside], atol=tolerance)


def _centres(grid: Grid) -> list[torch.Tensor]:
    """Rows and columns of a grid's cells, each [h, w], as shares of the height and the width."""
    axes = [(torch.arange(cells) + 0.5) / cells for cells in grid]
    return list(torch.meshgrid(*axes, indexing="ij"))


@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)), new=st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_a_transposed_grid_has_transposed_positions(grid: Grid, new: Grid) -> None:
    table = torch.rand((*grid, 3), generator=torch.Generator().manual_seed(0))
    across = interpolate_positions(table.flatten(0, 1), grid, new).unflatten(0, new)
    down = interpolate_positions(table.transpose(0, 1).flatten(0, 1), grid[::-1], new[::-1])
    torch.testing.assert_close(down.unflatten(0, new[::-1]).transpose(0, 1), across, rtol=1e-5, atol=1e-5)


def test_tables_follow_their_weights() -> None:
    own = nn.Parameter(torch.rand(6, 4))
    tables = InterpolatedPositions((2, 3))
    assert tables.table(own, (2, 3)) is own
    before = tables.table(own, (3, 2))
    assert tables.table(own, (3, 2)) is before
    with torch.no_grad():
        own += 1
    torch.testing.assert_close(tables.table(own, (3, 2)), before + 1)
    for height in range(1, 40):
        tables.table(own, (height, 5))
    torch.testing.assert_close(tables.table(own, (3, 2)), before + 1)
