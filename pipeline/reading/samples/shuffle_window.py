"""A window in memory: the codes of its row groups, and its samples laid out in the pass's order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.pipeline.reading.index.index import num_tokens_of
from bitmill.pipeline.reading.kernels.sample_layout import lay_out, order_pieces
from bitmill.pipeline.reading.kernels.unpack import address_of
from bitmill.pipeline.reading.order.epoch_order import PassOrder
from bitmill.pipeline.reading.samples.sample_shapes import Cut, SampleShape
from bitmill.pipeline.reading.shards.row_groups import Allocate, ClipSource
from bitmill.schemas.arrays import Int64s


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


def load_window(
    source: ClipSource,
    order: PassOrder,
    window: int,
    *,
    shape: SampleShape,
    sample_tokens: int,
    columns: Sequence[str],
    allocate: Allocate,
) -> ShuffleWindow:
    """Read a window's row groups and lay out its samples of ``sample_tokens`` places each.

    Raises the errors of reading.
    """
    groups = order.groups_of(window).tolist()
    codes, starts, shapes = source.read_groups(groups, allocate)
    cut = shape.cut(shapes)
    bounds, pieces, owners = order_pieces(order.samples_of(window), cut.sample_starts)
    sizes = num_tokens_of(shapes, source.geometry)
    unpacking = lay_out(
        pieces, owners, cut.table(), shapes[:, 0], sizes, starts, address_of(codes), sample_tokens
    )
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
