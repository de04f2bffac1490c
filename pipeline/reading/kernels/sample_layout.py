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
def bucket_positions(buckets: Any, starts: Any) -> Any:
    """The position of each sample among those of its bucket, whose first one here has that of ``starts``."""
    positions = np.empty(len(buckets), np.int64)
    reached = starts.copy()
    for sample, bucket in enumerate(buckets):
        positions[sample] = reached[bucket]
        reached[bucket] += 1
    return positions


@compiled
def arrange_buckets(  # noqa: PLR0917 - compiled code takes no keywords
    samples: Any,
    buckets: Any,
    positions: Any,
    sizes: Any,
    num_full: Any,
    first_rows: Any,
    places_RL: Any,
    firsts_RL: Any,
    column: int,
    dealt: bool,
    arranged: Any,
) -> None:
    """Write samples into ``arranged`` in order of batches (rows R of a ``Block``) and places in them.

    ``positions`` are those of samples in their buckets. Leaves out samples that no batch takes.
    """
    for number, sample in enumerate(samples):
        bucket, position = buckets[number], positions[number]
        full = num_full[bucket]
        if dealt and position < full * sizes[bucket]:
            batch, place = position % full, position // full
        else:
            batch, place = position // sizes[bucket], position % sizes[bucket]
        row = first_rows[bucket] + batch
        if row < first_rows[bucket + 1]:
            arranged[firsts_RL[row, column] + place - places_RL[row, column]] = sample


@compiled
def carry_over(buckets: Any, blocks: Any, counts: Any, sizes: Any) -> Any:
    """How the samples of each bucket and block become batches, int64 [n, 4]: carried in, full batches,
    remainder, carried out.

    Entries are ordered by bucket, then by block. What fills no batch is carried to the next block, once: what
    fills none there either, and what no sample of the bucket follows in the next block, is a remainder.
    """
    table = np.zeros((len(buckets), 4), np.int64)
    carried = 0
    for one in range(len(buckets)):
        size = sizes[buckets[one]]
        full, rest = divmod(carried + counts[one], size)
        last = one + 1
        goes_on = last < len(buckets) and buckets[last] == buckets[one] and blocks[last] == blocks[one] + 1
        out = rest if goes_on and (full > 0 or carried == 0) else 0
        table[one] = carried, full, rest - out, out
        carried = out
    return table
