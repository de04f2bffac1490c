"""The reading index: row groups in order, the location of their codes, and the shapes of their clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Geometry, Grid

Int32s = npt.NDArray[np.int32]


class RowGroup(NamedTuple):
    """One row group: the unit of reading."""

    shard_id: str
    shard_bytes: int
    number: int
    """Its number within its shard."""
    num_rows: int
    codes_offset: int
    """Offset of the first byte of the codes' column chunk in the file."""
    codes_bytes: int
    compressed: bool


def num_tokens_of(shapes_n3: Int64s, geometry: Geometry) -> Int64s:
    """Number of tokens of clips of these grids (token rows, height, width), int64 [n].

    Raises FormatError if a pyramid has no schedule for one.
    """
    if geometry.schedules is None:
        return shapes_n3[:, 0] * shapes_n3[:, 1] * shapes_n3[:, 2]
    distinct, which = np.unique(shapes_n3, axis=0, return_inverse=True)
    counts = [sum(map(prod, scales_of(shape, geometry))) for shape in distinct.tolist()]
    return np.array(counts, np.int64)[which.reshape(-1)]


def scales_of(shape_thw: Sequence[int], geometry: Geometry) -> tuple[Grid, ...]:
    """The grids of a clip's tokens, one after the other; errors as for ``num_tokens_of``."""
    rows, height, width = shape_thw
    try:
        return geometry.scales((rows, height, width))
    except KeyError as error:
        raise FormatError(
            f"A clip has a token grid of {height}×{width}, for which its pyramid has no schedule."
        ) from error


@dataclass(frozen=True, kw_only=True)
class ReadingIndex:
    """Row groups in dataset order, and the shapes of their clips as runs of equal shapes.

    Stored as arrays: about 60 bytes per row group and 16 per run, independent of the number of clips.
    """

    shard_ids: tuple[str, ...]
    shard_bytes: Int64s
    shard_of: Int64s
    """int64 [num_groups]: the shard of each row group."""
    numbers: Int32s
    num_rows: Int64s
    codes_offset: Int64s
    codes_bytes: Int64s
    compressed: npt.NDArray[np.bool_]
    run_starts: Int64s
    """int64 [num_groups + 1]: start of each row group's runs."""
    runs: Int32s
    """int32 [num_runs, 4]: rows, then token rows, height, width of their clips."""

    @property
    def num_groups(self) -> int:
        """Number of row groups."""
        return len(self.num_rows)

    def groups_of(self, shard: int) -> range:
        """The row groups of a shard, which are contiguous."""
        first, end = np.searchsorted(self.shard_of, (shard, shard + 1)).tolist()
        return range(first, end)

    def group(self, number: int) -> RowGroup:
        """The row group with this number in the dataset."""
        shard = int(self.shard_of[number])
        return RowGroup(
            shard_id=self.shard_ids[shard],
            shard_bytes=int(self.shard_bytes[shard]),
            number=int(self.numbers[number]),
            num_rows=int(self.num_rows[number]),
            codes_offset=int(self.codes_offset[number]),
            codes_bytes=int(self.codes_bytes[number]),
            compressed=bool(self.compressed[number]),
        )

    def runs_of(self, number: int) -> Int32s:
        """A row group's runs, int32 [R, 4]."""
        return self.runs[self.run_starts[number] : self.run_starts[number + 1]]

    def shapes_of(self, number: int) -> Int64s:
        """Token rows, height and width of each row's clip, int64 [num_rows, 3]."""
        runs = self.runs_of(number).astype(np.int64)
        return np.repeat(runs[:, 1:], runs[:, 0], axis=0)
