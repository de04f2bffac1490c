"""Where clips and pieces lie, row by row, compiled: what would be dozens of small array operations a window.

Every function here releases the GIL, which the training loop wants.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.schemas.compiling import compiled

Int64s = npt.NDArray[np.int64]

LENGTH_BYTES = 4
"""Before each value of a PLAIN page stands its length, a little-endian uint32."""


def place_clips(
    codes: npt.NDArray[np.uint8], body: slice, num_tokens: Int64s, bits_per_token: int, starts: Int64s
) -> str | None:
    """Fill ``starts`` [n] with the first bytes of a page's n clips, given the page's place in ``codes``.

    Says what is wrong where lengths or padding are not those of ``num_tokens`` [n] tokens.
    """
    found = _place_clips(codes, body.start, body.stop, num_tokens, bits_per_token, starts)
    return _WRONG[found]


_WRONG = (
    None,
    "the lengths of a page's codes are not those that their shapes give",
    "the padding after a clip's last token is not zero",
)


@compiled
def _place_clips(  # noqa: PLR0917 - compiled code takes no keywords
    codes: Any, at: int, end: int, num_tokens: Any, bits: int, starts: Any
) -> int:
    for row in range(len(num_tokens)):
        used = num_tokens[row] * bits
        size = (used + 7) >> 3
        if at + LENGTH_BYTES + size > end:
            return 1
        stored = np.int64(0)
        for k in range(LENGTH_BYTES):
            stored |= np.int64(codes[at + k]) << (8 * k)
        if stored != size:
            return 1
        at += LENGTH_BYTES
        starts[row] = at
        at += size
        if used & 7 and codes[at - 1] >> (used & 7):
            return 2
    return 0 if at == end else 1


@compiled
def order_pieces(samples: Any, sample_starts: Any) -> Any:
    """Pieces of samples in a new order, sample after sample: bounds of each one's, numbers, and owners."""
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
    pieces: Any, owners: Any, cut_P4: Any, shapes_n3: Any, starts: Any, address: int, sample_tokens: int
) -> Any:
    """What the unpacking kernels take, int64 [P, 4], for pieces of a cut's table."""
    rows = np.empty((len(pieces), 4), np.int64)
    for row in range(len(pieces)):
        clip, first_frame, frames, place = cut_P4[pieces[row]]
        grid = shapes_n3[clip, 1] * shapes_n3[clip, 2]
        rows[row, 0] = address + starts[clip]
        rows[row, 1] = first_frame * grid
        rows[row, 2] = frames * grid
        rows[row, 3] = owners[row] * sample_tokens + place
    return rows
