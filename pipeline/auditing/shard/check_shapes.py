"""Checks clips' token grids, frames and crops against each other and the tokenizer; pure logic."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.pipeline.dataset.token_counts import real_frames
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.models.geometry import Geometry


def shape_faults(table: pa.Table, geometry: Geometry, sizes: FrameSizes | None) -> dict[int, str]:
    """Return what is wrong with the shape of a row, a sentence, by row; of several faults the first.

    ``sizes`` are the job's, None if they are not known; ``table`` has the columns of any version of the token
    shard but the codes.
    """
    rows: Int64s = table.column("num_frames").to_numpy()
    frames = real_frames(table)
    lengths = {count: geometry.legal_at_least(count) if count > 0 else None for count in set(frames.tolist())}
    made = {count: 0 if legal is None else geometry.token_rows(legal) for count, legal in lengths.items()}
    wrong = np.flatnonzero(rows != np.array([made[count] for count in frames.tolist()], np.int64))
    faults = {row: _rows_fault(int(frames[row]), int(rows[row]), made) for row in wrong.tolist()}
    if "lead_frames" in table.column_names:
        lead: Int64s = table.column("lead_frames").to_numpy()
        for row in np.flatnonzero(lead != geometry.lead_frames).tolist():
            faults.setdefault(row, f"lead_frames is {lead[row]}, the tokenizer's is {geometry.lead_frames}")
        for row in np.flatnonzero(_leaves_frame(table, geometry)).tolist():
            faults.setdefault(row, _crop_fault(table.slice(row, 1).to_pylist()[0], geometry))
    for row, fault in _size_faults(table, geometry, sizes) if sizes else ():
        faults.setdefault(row, fault)
    return faults


def _size_faults(table: pa.Table, geometry: Geometry, sizes: FrameSizes) -> Iterator[tuple[int, str]]:
    """Rows whose frames do not have a size of the job."""
    grids_N2 = np.stack([table.column(name).to_numpy() for name in ("height", "width")], axis=1)
    distinct, which = np.unique(grids_N2, axis=0, return_inverse=True)
    for place, (height, width) in enumerate(distinct.tolist()):
        size = height * geometry.patch_px[0], width * geometry.patch_px[1]
        if not sizes.allows(size):
            for row in np.flatnonzero(which.reshape(-1) == place).tolist():
                yield row, f"its frames of {size[0]}×{size[1]} pixels are none of the job's: {sizes}"


def _rows_fault(num_frames: int, rows: int, made: dict[int, int]) -> str:
    if not made[num_frames]:
        return f"it has {num_frames} frames; the tokenizer takes no such clip"
    return f"{num_frames} frames make {made[num_frames]} token rows, not {rows}"


def _leaves_frame(table: pa.Table, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """bool [n]: whether a row's crop reaches outside the scaled frame."""
    leaves = np.zeros(len(table), np.bool_)
    for side, start, patch_px in zip(("height", "width"), ("top", "left"), geometry.patch_px, strict=True):
        scaled, first, count = (
            table.column(name).to_numpy().astype(np.int64)
            for name in (f"scaled_{side}", f"crop_{start}", side)
        )
        leaves |= (first < 0) | (first + count * patch_px > scaled)
    return leaves


def _crop_fault(row: dict[str, Any], geometry: Geometry) -> str:
    height, width = row["height"] * geometry.patch_px[0], row["width"] * geometry.patch_px[1]
    return (
        f"the crop of {height}×{width} pixels at ({row['crop_top']}, {row['crop_left']}) reaches outside the "
        f"frame scaled to {row['scaled_height']}×{row['scaled_width']}"
    )
