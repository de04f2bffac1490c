"""A window in memory: the codes of its row groups, and its samples laid out in the pass's order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.pipeline.reading.index.index import num_tokens_of
from bitmill.pipeline.reading.kernels.sample_layout import lay_out, order_pieces
from bitmill.pipeline.reading.kernels.unpack import address_of
from bitmill.pipeline.reading.samples.cut import Cut, SampleShape
from bitmill.pipeline.reading.shards.row_groups import Allocate, ClipSource
from bitmill.schemas.arrays import Int64s

PTS = "frame_pts_ns"


class Arranged(NamedTuple):
    """The order of a window's samples."""

    samples: Int64s
    """int64 [n]: numbers of samples in the window's cut; those that no batch takes are missing."""
    targets: Int64s
    """int64 [n]: each one's first place, in tokens, as if all were one batch; right within each take."""


Arrange = Callable[[Cut, Int64s], Arranged]
"""Arranges the samples of a cut of clips of shapes int64 [n, 3]."""


@dataclass(frozen=True, kw_only=True)
class ShuffleWindow:
    """Samples ready to be unpacked: everything is in the pass's order, so that a take is a slice."""

    codes: npt.NDArray[np.uint8]
    bounds: list[int]
    """[num_samples + 1]: start of each sample's pieces."""
    owners: Int64s
    """int64 [num_pieces]: the piece's sample."""
    unpacking_P4: Int64s
    """int64 [num_pieces, 4]: the kernels' input, with targets as if the window's samples were one batch."""
    address: int
    """Memory address of ``unpacking_P4``."""
    pieces: Int64s
    """int64 [num_pieces]: the piece's number in the cut."""
    cut: Cut
    shapes_n3: Int64s
    lost: npt.NDArray[np.bool_] | None
    """bool [num_pieces]: pieces of row groups that are damaged and skipped; None if there are none."""
    columns: pa.Table | None
    """The selected columns of the clips, or None."""

    def clips_of(self, pieces: Int64s) -> Int64s:
        """Clips of pieces: rows of ``shapes_n3`` and of ``columns``."""
        return self.cut.clips[self.pieces[pieces]]

    def times_of(self, pieces: Int64s) -> Int64s:
        """First frame in the clip and number of frames of pieces, int64 [n, 2]."""
        own = self.pieces[pieces]
        return np.stack((self.cut.first_frames[own], self.cut.num_frames[own]), axis=1)

    def grids_of(self, pieces: Int64s) -> Int64s:
        """Height and width of pieces, int64 [n, 2]."""
        return self.shapes_n3[self.clips_of(pieces), 1:]

    def places_of(self, pieces: Int64s) -> Int64s:
        """The first places of pieces in their samples."""
        return self.cut.places[self.pieces[pieces]]

    @cached_property
    def presentation(self) -> tuple[Int64s, Int64s]:
        """Presentation times of all clips' frames, and where each clip's begin, int64 [n + 1]."""
        assert self.columns is not None
        times: Any = self.columns.column(PTS).combine_chunks()
        return times.values.to_numpy(), times.offsets.to_numpy().astype(np.int64)


class Windows(list[ShuffleWindow]):
    """The window of each take of a batch. Batches in a row share it while they share their takes."""

    runs_R3: Int64s | None = None
    """What unpacking them needs (``unpack_pieces``), of the first of these batches, once it is known."""


def load_window(
    source: ClipSource,
    groups: Sequence[int],
    *,
    shape: SampleShape,
    arrange: Arrange,
    columns: Sequence[str],
    allocate: Allocate,
) -> ShuffleWindow:
    """Read row groups and lay out their samples. Raises the errors of reading."""
    codes, starts, shapes = source.read_groups(groups, allocate)
    cut = shape.cut(shapes)
    samples, targets = arrange(cut, shapes)
    bounds, pieces, owners = order_pieces(samples, cut.sample_starts)
    sizes = num_tokens_of(shapes, source.geometry)
    unpacking = lay_out(pieces, owners, cut.table(), shapes[:, 0], sizes, starts, address_of(codes), targets)
    others = source.read_columns(groups, columns) if columns else None
    lost = starts < 0
    if others is not None:
        lost |= others.lost
    return ShuffleWindow(
        codes=codes,
        bounds=bounds.tolist(),
        owners=owners,
        unpacking_P4=unpacking,
        address=address_of(unpacking),
        pieces=pieces,
        cut=cut,
        shapes_n3=shapes,
        lost=lost[cut.clips[pieces]] if lost.any() else None,
        columns=others.table if others else None,
    )
