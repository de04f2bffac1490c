"""Stores a token shard's rows without their codes as deflated JSON, each row separately.

Restoring a chunk must not need another chunk, so rows are not compressed together; a dictionary in the
header, made from the first rows, achieves most of that gain.
"""

import json
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from bitmill.schemas.dataset.token_shard import token_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json

_LEFT_OUT = frozenset({"codes", "num_frames", "height", "width"})
"""Codes are the payload, and the header contains the shapes."""

_DICTIONARY_ROWS = 2
_MOST_DICTIONARY_BYTES = 32768
"""The window of deflate."""
_MOST_ROW_BYTES = 1 << 26


def row_columns(version: int) -> tuple[str, ...]:
    """Return the columns that are stored of a token shard of this version, in order."""
    return tuple(field.name for field in token_columns(version) if field.name not in _LEFT_OUT)


def row_dictionary(rows: Sequence[dict[str, Any]], version: int) -> bytes:
    """Return the compression dictionary, made from the first rows."""
    return b"".join(_text(row, version) for row in rows[:_DICTIONARY_ROWS])[:_MOST_DICTIONARY_BYTES]


def row_bytes(row: dict[str, Any], version: int, dictionary: bytes) -> bytes:
    """Compress one row's ``row_columns``."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionary)
    return deflate.compress(_text(row, version)) + deflate.flush()


def row_of_bytes(data: bytes, version: int, dictionary: bytes, *, origin: str) -> dict[str, Any]:
    """Restore what ``row_bytes`` returned. Raises FormatError if it is damaged or implausibly large."""
    inflate = zlib.decompressobj(-15, zdict=dictionary)
    try:
        text = inflate.decompress(data, _MOST_ROW_BYTES)
        if not inflate.eof:
            raise FormatError(f"A row of {origin} is damaged, or larger than a row can be. Copy it again.")
        values = json.loads(text)
    except (zlib.error, ValueError) as error:
        raise FormatError(f"A row of {origin} is damaged. Copy it again.") from error
    names = row_columns(version)
    if not isinstance(values, list) or len(values) != len(names):
        raise FormatError(f"A row of {origin} does not have the columns of a token shard.")
    row = dict(zip(names, values, strict=True))
    times = row["frame_pts_ns"]
    if not isinstance(times, list) or not all(isinstance(value, int) for value in times):
        raise FormatError(f"A row of {origin} has no frame times.")
    row["frame_pts_ns"] = list(accumulate(times))
    return row


def _text(row: dict[str, Any], version: int) -> bytes:
    # Timestamps as differences, which repeat; columns in order, without names.
    times = row["frame_pts_ns"]
    told = row | {"frame_pts_ns": times[:1] + [after - before for before, after in pairwise(times)]}
    return canonical_json([told[name] for name in row_columns(version)]).encode()
