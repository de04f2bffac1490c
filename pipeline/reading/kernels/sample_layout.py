"""Lays out clips and pieces row by row, compiled; replaces dozens of small array operations per window.

Every function here releases the GIL for the training loop.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.schemas.compiled_code.numba_compile import compiled

Int64s = npt.NDArray[np.int64]


@compiled
def order_pieces(samples: Any, sample_starts: Any) -> Any:
    """Arrange pieces sample by sample in a new order: sample bounds, piece numbers, and owners."""
    count = len(samples)
    bounds = np.empty(count + 1, np.int64)
    bounds[0] = 0
    for place in range(count):
        sample = samples[place]
        bounds[place + 1] = bounds[place] + sample_starts[sample + 1] - sample_starts[sample]
    pieces, owners = np.empty(bounds[count], np.int64), np.empty(bounds[count], np.int64)
    for place in range(count):
        first = sample_starts[samples[place]] - bounds[place]
        for piece in range(bounds[place], bounds[place + 1]):
            pieces[piece] = first + piece
            owners[piece] = place
    return bounds, pieces, owners


@compiled
def lay_out(  # noqa: PLR0917 - compiled code takes no keywords
    pieces: Any,
    owners: Any,
    cut_P4: Any,
    frames: Any,
    num_tokens: Any,
    starts: Any,
    address: int,
    sample_tokens: int,
) -> Any:
    """The unpacking kernels' input, int64 [P, 4], for pieces of a cut's table.

    A clip's ``num_tokens`` [n] are those of its ``frames`` [n], equally many each.
    """
    rows = np.empty((len(pieces), 4), np.int64)
    for row in range(len(pieces)):
        clip, first_frame, num_frames, place = cut_P4[pieces[row]]
        rows[row, 0] = address + starts[clip]
        rows[row, 1] = first_frame * num_tokens[clip] // frames[clip]
        rows[row, 2] = num_frames * num_tokens[clip] // frames[clip]
        rows[row, 3] = owners[row] * sample_tokens + place
    return rows
