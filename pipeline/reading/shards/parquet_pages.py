"""Parses the pages of a codes column chunk and locates each clip's codes.

A page is a header, then each row's length and codes (Parquet's PLAIN encoding, a required column).
Uncompressed codes are used in place, without a copy.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from bitmill.pipeline.reading.kernels.page_layout import LENGTH_BYTES, place_clips
from bitmill.pipeline.reading.shards.parquet_thrift import read_struct
from bitmill.schemas.arrays import Codes, Int64s

MAX_HEADER_BYTES = 256
_DATA_PAGE = 0
_PLAIN = 0


class WrongChecksumError(ValueError):
    """A page's bytes do not match their checksum."""


class WrongLengthsError(ValueError):
    """Lengths of codes do not match their shapes, or their padding is not zero."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A data page: its location in its chunk, in bytes, and its number of rows."""

    body: int
    stored_bytes: int
    full_bytes: int
    num_rows: int
    checksum: int | None


def page_at(data: memoryview, offset: int) -> Page:
    """Parse the page whose header is at ``offset``. Raises ValueError unless it is a PLAIN data page."""
    header, body = read_struct(data, offset)
    rows: Any = header.get(5)
    if not isinstance(rows, dict) or header.get(1) != _DATA_PAGE or rows.get(2) != _PLAIN:
        raise ValueError("the codes column has a page that is not a PLAIN data page")
    return Page(
        body=body,
        stored_bytes=_size(header, 3),
        full_bytes=_size(header, 2),
        num_rows=_size(rows, 1),
        checksum=_number(header, 4) if 4 in header else None,
    )


def _size(fields: dict[int, Any], number: int) -> int:
    size = _number(fields, number)
    if size < 0:
        raise ValueError("a page's header has a negative size")
    return size


def _number(fields: dict[int, Any], number: int) -> int:
    # In damaged bytes a field may be missing or of any type.
    value = fields.get(number)
    if type(value) is not int:
        raise ValueError("a page's header lacks a number")
    return value


def pages_of(chunk: memoryview) -> Iterator[Page]:
    """Yield all pages of a chunk, in order. Raises ValueError if they do not fill it exactly."""
    offset = 0
    while offset < len(chunk):
        page = page_at(chunk, offset)
        offset = page.body + page.stored_bytes
        if offset > len(chunk):
            raise ValueError("a page reaches past its column chunk")
        yield page


def find_clips(
    chunk: Codes, num_tokens: Int64s, bits_per_token: int, *, compressed: bool, verify: bool
) -> tuple[Codes, Int64s]:
    """The codes, and int64 [n] where each of the chunk's n clips of ``num_tokens`` tokens begins in them.

    The codes are the chunk itself unless it is compressed. ``verify`` checks the pages' checksums. Raises
    ValueError if the bytes do not contain such clips; its subclasses WrongChecksumError and WrongLengthsError
    say why.
    """
    view = chunk.data
    starts = np.empty(len(num_tokens), np.int64)
    bodies: list[Codes] = []
    row = 0
    for page in pages_of(view):
        stored = view[page.body : page.body + page.stored_bytes]
        if verify:
            _check(stored, page)
        rows = slice(row, row + page.num_rows)
        if rows.stop > len(starts):
            raise ValueError(f"the codes column has more than {len(starts)} rows")
        body = _decompressed(stored, page, num_tokens[rows], bits_per_token) if compressed else chunk
        place = slice(0, len(body)) if compressed else slice(page.body, page.body + page.stored_bytes)
        if not compressed and page.stored_bytes != page.full_bytes:
            raise ValueError("an uncompressed page has two different sizes")
        wrong = place_clips(body, place, num_tokens[rows], bits_per_token, starts[rows])
        if wrong:
            raise WrongLengthsError(wrong)
        if compressed:
            starts[rows] += sum(map(len, bodies))
            bodies.append(body)
        row = rows.stop
    if row != len(starts):
        raise ValueError(f"the codes column has {row} of {len(starts)} rows")
    return (np.concatenate(bodies) if bodies else np.empty(0, np.uint8)) if compressed else chunk, starts


def check_pages(chunk: memoryview) -> None:
    """Raise WrongChecksumError if a page of a chunk is damaged, ValueError if pages do not fill it."""
    for page in pages_of(chunk):
        _check(chunk[page.body : page.body + page.stored_bytes], page)


def _check(stored: memoryview, page: Page) -> None:
    # isal computes the same CRC-32 as zlib, ten times faster.
    if page.checksum is not None and isal_zlib.crc32(stored) != page.checksum & 0xFFFFFFFF:
        raise WrongChecksumError("a page does not match its checksum")


def _decompressed(stored: memoryview, page: Page, num_tokens: Int64s, bits_per_token: int) -> Codes:
    expected = int(((num_tokens * bits_per_token + 7) >> 3).sum()) + LENGTH_BYTES * len(num_tokens)
    if page.full_bytes != expected:
        # Without this check, a damaged header could request any amount of memory.
        raise WrongLengthsError(f"a page has {page.full_bytes} bytes of codes and lengths, not {expected}")
    try:
        body: Any = pa.decompress(pa.py_buffer(stored), expected, codec="zstd")
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise ValueError(f"a page cannot be decompressed ({error})") from error
    return np.frombuffer(body, np.uint8)
