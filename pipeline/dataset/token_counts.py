"""Tokens and frames of stored clips: what the columns of any version of the token shard say of them."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.schemas.arrays import Int64s
from bitmill.schemas.models.geometry import Grid, grid_name


def token_counts(shapes_n3: Int64s, schedules: Mapping[str, tuple[Grid, ...]] | None) -> Int64s:
    """Return the number of tokens of n clips whose (full) grids are t, h, w, int64 [n].

    ``schedules`` are those of the shard's metadata. 0 where a pyramid has no schedule for a grid.
    """
    if schedules is None:
        return shapes_n3.prod(axis=1)
    counts = {name: sum(map(prod, grids)) for name, grids in schedules.items()}
    shapes = shapes_n3[:, 1:].tolist()
    return np.fromiter((counts.get(grid_name(*grid), 0) for grid in shapes), np.int64, len(shapes))


def real_frames(table: pa.Table) -> npt.NDArray[Any]:
    """Return the number of frames of n clips, without padding [n]; version 1 has as many as token rows."""
    name = "num_real_frames" if "num_real_frames" in table.column_names else "num_frames"
    return table.column(name).to_numpy()
