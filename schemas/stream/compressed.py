"""The byte layout of the compressed stream (``.bmz``): header, chunks, header copy (docs/compression.md).

Works on bytes only: reads no file, decodes no token. A chunk is one clip and independent of the others.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitmill.schemas.errors import FormatError
from bitmill.schemas.stream.cursor import Cursor, string_bytes
from bitmill.schemas.stream.stream_header import (
    CHECKSUM_BYTES,
    StreamHeader,
    StreamKind,
    header_bytes,
    read_header,
)

_END = b"zmb"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One clip's parsed chunk."""

    row: bytes
    """For a token shard: the row's other columns, deflated; else empty."""
    row_checksums: tuple[int, ...]
    payload: bytes
    intact: bool = True
    """Whether the chunk's checksum is correct."""


def chunk_bytes(
    header: StreamHeader, index: int, *, row: bytes, row_checksums: Sequence[int], payload: bytes
) -> bytes:
    """Return a chunk: row (of a token shard), a CRC-32 per row of tokens, the coder's bytes, a CRC-32 of all.

    ``header.clips`` is not used: the checksum's seed is the chunk's number and the tokenizer.
    """
    parts = string_bytes(row) if header.kind is StreamKind.TOKEN_SHARD else b""
    parts += b"".join(struct.pack("<I", checksum) for checksum in row_checksums) + payload
    return parts + struct.pack("<I", zlib.crc32(parts, _chunk_start(header, index)))


def stream_bytes(header: StreamHeader, chunks: Sequence[bytes]) -> bytes:
    """Return a whole stream. ``header.clips`` contains the shapes; this fills in the chunk sizes.

    With several clips (more than one frame's tiles) the header is repeated at the end, so that damage to one
    copy loses nothing.
    """
    places = [replace(clip, chunk_bytes=len(chunk)) for clip, chunk in zip(header.clips, chunks, strict=True)]
    head = header_bytes(replace(header, clips=tuple(places)))
    return b"".join([head, *chunks, _tail(head) if has_second_header(header) else b""])


def has_second_header(header: StreamHeader) -> bool:
    """Whether the header is repeated at the end; not for a single picture, to save bytes."""
    return len(header.clips) > header.tiles**2


class CompressedStream:
    """Parses a stream's header, and its chunks by number; a view of complete bytes.

    Raises FormatError if ``data`` is not a stream, of a newer version, truncated, or its header is damaged.
    With ``salvage`` the header's second copy suffices, and bytes may be missing.
    """

    def __init__(self, data: bytes, *, origin: str, salvage: bool = False) -> None:
        self._data, self._origin = data, origin
        try:
            self.header, self._first = read_header(data, origin)
        except FormatError:
            found = _back(data, origin) if salvage else None
            if found is None:
                raise
            self.header, self._first = found
        if not salvage:
            self._check_size()

    def chunk(self, index: int) -> Chunk:
        """Return chunk ``index``, intact or not. Raises FormatError if too few bytes are left."""
        start = self._first + sum(clip.chunk_bytes for clip in self.header.clips[:index])
        return self._taken_apart(index, start)

    def chunks(self) -> list[Chunk | None]:
        """Return all chunks in order; None where too few bytes are left."""
        start, found = self._first, list[Chunk | None]()
        for index, clip in enumerate(self.header.clips):
            try:
                found.append(self._taken_apart(index, start))
            except FormatError:
                found.append(None)
            start += clip.chunk_bytes
        return found

    def _taken_apart(self, index: int, start: int) -> Chunk:
        clip = self.header.clips[index]
        data = self._data[start : start + clip.chunk_bytes]
        intact = len(data) == clip.chunk_bytes and data[-CHECKSUM_BYTES:] == struct.pack(
            "<I", zlib.crc32(data[:-CHECKSUM_BYTES], _chunk_start(self.header, index))
        )
        if len(data) == clip.chunk_bytes:
            data = data[:-CHECKSUM_BYTES]
        cursor = Cursor(data, self._origin)
        row = cursor.string() if self.header.kind is StreamKind.TOKEN_SHARD else b""
        num_rows = self.header.coded_shape(clip)[0]
        checksums = struct.unpack(f"<{num_rows}I", cursor.take(num_rows * CHECKSUM_BYTES))
        return Chunk(row=row, row_checksums=checksums, payload=cursor.rest(), intact=intact)

    def _check_size(self) -> None:
        head = self._data[: self._first]
        end = self._first + sum(clip.chunk_bytes for clip in self.header.clips)
        tail = _tail(head) if has_second_header(self.header) else b""
        if len(self._data) < end + len(tail):
            raise FormatError(
                f"{self._origin} is truncated: it has {len(self._data)} of {end + len(tail)} bytes. "
                "Copy it again, or add --salvage to restore what is undamaged."
            )
        if self._data[end:] != tail:
            raise FormatError(
                f"{self._origin} is damaged after its last chunk. Copy it again, or add --salvage to restore "
                "what is undamaged."
            )


def _back(data: bytes, origin: str) -> tuple[StreamHeader, int] | None:
    """Return the header copy at the end and the offset of the first chunk; None if there is no copy."""
    if data[-len(_END) :] != _END:
        return None
    length_at = len(data) - len(_END) - 4
    if length_at < 0:
        return None
    (size,) = struct.unpack_from("<I", data, length_at)
    if size > length_at:
        return None
    header, _ = read_header(data[length_at - size : length_at], origin)
    return header, length_at - size - sum(clip.chunk_bytes for clip in header.clips)


def _tail(head: bytes) -> bytes:
    return head + struct.pack("<I", len(head)) + _END


def _chunk_start(header: StreamHeader, index: int) -> int:
    """Return the checksum seed, so that a chunk of another stream or position is not accepted."""
    return zlib.crc32(struct.pack("<I", index) + bytes.fromhex(header.tokenizer_fingerprint))
