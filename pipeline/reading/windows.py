"""A window in memory: the codes of its row groups, and its samples laid out in the pass's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.reading.clips import Allocate, ClipSource
from pipeline.reading.cutting import Cut, SampleShape
from pipeline.reading.order import PassOrder
from schemas.unpacking import address_of

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Samples ready to be unpacked: everything stands in the pass's order, so that a take is a slice."""

    codes: npt.NDArray[np.uint8]
    bounds: list[int]
    """[num_samples + 1]: where each sample's pieces begin."""
    owners: Int64s
    """int64 [num_pieces]: the piece's sample."""
    unpacking_P4: Int64s
    """int64 [num_pieces, 4]: what the kernels take, with targets as if the window's samples were a batch."""
    places: Int64s
    """int64 [num_pieces]: the piece's first place in its sample."""
    times: Int64s
    """int64 [num_pieces, 2]: the piece's first frame in its clip, and its number of frames."""
    grids: Int64s
    """int64 [num_pieces, 2]: height and width."""
    clips: Int64s
    """int64 [num_pieces]: the piece's clip, a row of ``columns``."""
    address: int
    """Where ``unpacking_P4`` lies in memory."""
    lost: npt.NDArray[np.bool_] | None
    """bool [num_pieces]: pieces of row groups that are damaged and skipped; null where there are none."""
    columns: pa.Table | None
    """The wanted columns of the clips, where any are wanted."""


def load_window(
    source: ClipSource,
    order: PassOrder,
    window: int,
    *,
    shape: SampleShape,
    sample_tokens: int,
    columns: Sequence[str],
    allocate: Allocate,
) -> Window:
    """Read a window's row groups and lay out its samples of ``sample_tokens`` places each.

    Raises what reading raises.
    """
    groups = order.groups_of(window).tolist()
    codes, starts, _, shapes = source.read_groups(groups, allocate)
    cut = shape.cut(shapes)
    pieces, bounds = _in_order(cut, order.samples_of(window))
    clips, owners = cut.clips[pieces], np.repeat(np.arange(cut.num_samples), np.diff(bounds))
    grid = shapes[clips, 1] * shapes[clips, 2]
    first_frames, num_frames, places = cut.first_frames[pieces], cut.num_frames[pieces], cut.places[pieces]
    targets = owners * sample_tokens + places
    rows = (address_of(codes) + starts[clips], first_frames * grid, num_frames * grid, targets)
    lost = starts[clips] < 0
    unpacking = np.stack(rows, axis=1)
    return Window(
        codes=codes,
        bounds=bounds.tolist(),
        owners=owners,
        unpacking_P4=unpacking,
        address=address_of(unpacking),
        places=places,
        times=np.stack((first_frames, num_frames), axis=1),
        grids=shapes[clips, 1:],
        clips=clips,
        lost=lost if lost.any() else None,
        columns=source.read_columns(groups, columns) if columns else None,
    )


def _in_order(cut: Cut, samples: Int64s) -> tuple[Int64s, Int64s]:
    """Numbers of the cut's pieces, sample after sample in this order, and where each sample's begin."""
    counts = np.diff(cut.sample_starts)[samples]
    bounds = np.concatenate(([0], np.cumsum(counts)))
    return np.repeat(cut.sample_starts[:-1][samples] - bounds[:-1], counts) + np.arange(bounds[-1]), bounds


def gathered(table: pa.Table, clips: Int64s) -> dict[str, list[Any]]:
    """Values of some clips, by column."""
    return table.take(pa.array(clips, pa.int64())).to_pydict()
