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
    targets: Any,
) -> Any:
    """The unpacking kernels' input, int64 [P, 4], for pieces of a cut's table.

    A clip's ``num_tokens`` [n] are those of its ``frames`` [n], equally many each. ``targets`` are the first
    places of samples among those of all.
    """
    rows = np.empty((len(pieces), 4), np.int64)
    for row in range(len(pieces)):
        clip, first_frame, num_frames, place = cut_P4[pieces[row]]
        rows[row, 0] = address + starts[clip]
        rows[row, 1] = first_frame * num_tokens[clip] // frames[clip]
        rows[row, 2] = num_frames * num_tokens[clip] // frames[clip]
        rows[row, 3] = targets[owners[row]] + place
    return rows


@compiled
def arrange_buckets(  # noqa: PLR0917 - compiled code takes no keywords
    samples: Any,
    buckets: Any,
    starts: Any,
    sizes: Any,
    num_full: Any,
    first_rows: Any,
    places_RL: Any,
    firsts_RL: Any,
    window: int,
    dealt: bool,
    count: int,
) -> Any:
    """The ``count`` samples of a window of a block in order of batches (rows R) and places in them.

    ``samples`` are in the pass's order; the arrays before ``places_RL`` are by bucket, that of each sample
    is ``buckets``. See ``Block`` for their meaning.
    """
    order = np.empty(count, np.int64)
    reached = starts.copy()
    for sample in samples:
        bucket = buckets[sample]
        position = reached[bucket]
        reached[bucket] += 1
        full = num_full[bucket]
        if dealt and position < full * sizes[bucket]:
            batch, place = position % full, position // full
        else:
            batch, place = position // sizes[bucket], position % sizes[bucket]
        row = first_rows[bucket] + batch
        if row < first_rows[bucket + 1]:
            order[firsts_RL[row, window] + place - places_RL[row, window]] = sample
    return order
