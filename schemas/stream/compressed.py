"""The compressed stream (``.bmz``), byte by byte: header, chunks, the header again (docs/compression.md).

Pure bytes: no file is read, no token decoded. A chunk is one clip, and stands alone.
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
    """One clip's bytes, taken apart."""

    row: bytes
    """Of a token shard: the row's other columns, deflated; else empty."""
    frame_checksums: tuple[int, ...]
    payload: bytes
    intact: bool = True
    """Whether the chunk's own checksum fits."""


def chunk_bytes(
    header: StreamHeader, index: int, *, row: bytes, frame_checksums: Sequence[int], payload: bytes
) -> bytes:
    """A chunk: its row (of a token shard), a CRC-32 a frame, the coder's bytes, a CRC-32 over all that.

    ``header.clips`` is not looked at: the chunk's checksum begins with its number and the tokenizer.
    """
    parts = string_bytes(row) if header.kind is StreamKind.TOKEN_SHARD else b""
    parts += b"".join(struct.pack("<I", checksum) for checksum in frame_checksums) + payload
    return parts + struct.pack("<I", zlib.crc32(parts, _chunk_start(header, index)))


def stream_bytes(header: StreamHeader, chunks: Sequence[bytes]) -> bytes:
    """A whole stream. ``header.clips`` tells shapes; the bytes of chunks are filled in here.

    Where there are several clips (more than one frame's tiles) the header comes again at the end, so that
    damage to one costs nothing.
    """
    places = [replace(clip, chunk_bytes=len(chunk)) for clip, chunk in zip(header.clips, chunks, strict=True)]
    head = header_bytes(replace(header, clips=tuple(places)))
    return b"".join([head, *chunks, _tail(head) if has_second_header(header) else b""])


def has_second_header(header: StreamHeader) -> bool:
    """Whether it comes again at the end: a single picture is not worth one."""
    return len(header.clips) > header.tiles**2


class CompressedStream:
    """A stream's header, and its chunks by number; a view of bytes that are all there.

    ``data`` that is no stream, or of a newer version, or whose header is damaged, raises FormatError. With
    ``salvage`` the header's second copy will do, and bytes may be missing.
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
        """Chunk ``index``, intact or not. Raises FormatError where too little is left to be one."""
        start = self._first + sum(clip.chunk_bytes for clip in self.header.clips[:index])
        return self._taken_apart(index, start)

    def chunks(self) -> list[Chunk | None]:
        """All chunks in order; null where too little is left."""
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
        checksums = struct.unpack(f"<{clip.num_frames}I", cursor.take(clip.num_frames * CHECKSUM_BYTES))
        return Chunk(row=row, frame_checksums=checksums, payload=cursor.rest(), intact=intact)

    def _check_size(self) -> None:
        head = self._data[: self._first]
        end = self._first + sum(clip.chunk_bytes for clip in self.header.clips)
        tail = _tail(head) if has_second_header(self.header) else b""
        if len(self._data) < end + len(tail):
            raise FormatError(
                f"{self._origin} is cut short: it has {len(self._data)} bytes of {end + len(tail)}. "
                "Copy it anew, or add --salvage to get what is left."
            )
        if self._data[end:] != tail:
            raise FormatError(
                f"{self._origin} is damaged after its last chunk. Copy it anew, or add --salvage to get what "
                "is left."
            )


def _back(data: bytes, origin: str) -> tuple[StreamHeader, int] | None:
    """The header's copy at the end, and where the first chunk begins by it; null where there is none."""
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
    """So that a chunk of another stream, or at another's place, does not pass for this one."""
    return zlib.crc32(struct.pack("<I", index) + bytes.fromhex(header.tokenizer_fingerprint))
