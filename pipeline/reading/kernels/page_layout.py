"""Locates clips' codes in a Parquet page, compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.kernels.sample_layout import Int64s
from bitmill.schemas.compiled_code.numba_compile import compiled

LENGTH_BYTES = 4
"""Each value of a PLAIN page is preceded by its length, a little-endian uint32."""


def place_clips(
    codes: npt.NDArray[np.uint8], body: slice, num_tokens: Int64s, bits_per_token: int, starts: Int64s
) -> str | None:
    """Fill ``starts`` [n] with the first byte of each of a page's n clips; ``body`` is the page in ``codes``.

    Returns what is wrong if lengths or padding do not match ``num_tokens`` [n] tokens, else None.
    """
    found = _place_clips(codes, body.start, body.stop, num_tokens, bits_per_token, starts)
    return _WRONG[found]


_WRONG = (
    None,
    "the lengths of a page's codes do not match their shapes",
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
