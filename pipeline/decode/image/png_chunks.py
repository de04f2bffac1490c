"""Removes ancillary PNG chunks on which Pillow would fail."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    offset: int
    num_bytes: int
    """Bytes from ``offset`` on: header, body and checksum, as far as the file contains them."""


def readable_png(path: str) -> BytesIO | None:
    """Returns the file in a form that Pillow reads; None if it reads the file itself.

    Omits texts and colour profiles that exceed Pillow's limits or use an unknown compression; no pixel
    depends on them. Moves EXIF after an animation's frames to the front, since it contains their orientation.
    """
    with Path(path).open("rb") as file:
        chunks = list(_chunks(file))
        kept = list(_kept(file, chunks))
        if kept == chunks:
            return None
        parts = [SIGNATURE, *(_bytes_of(file, chunk) for chunk in kept)]
    return BytesIO(b"".join(parts))


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """Yields all chunks of a file; the last is incomplete if the file is cut off."""
    offset, size = len(SIGNATURE), file.seek(0, 2)
    while offset < size:
        file.seek(offset)
        header = file.read(8)
        length = struct.unpack(">I", header[:4])[0] if len(header) == 8 else 0
        num_bytes = min(12 + length, size - offset)
        yield _Chunk(header[4:], offset, num_bytes)
        offset += num_bytes


def _kept(file: BinaryIO, chunks: list[_Chunk]) -> Iterator[_Chunk]:
    exif = _late_exif(chunks)
    text_bytes = 0
    for chunk in chunks:
        if chunk.kind in _NOTES:
            num_bytes = _unpacked_bytes(chunk.kind, _bytes_of(file, chunk)[8:-4])
            if num_bytes is None or text_bytes + num_bytes > PngImagePlugin.MAX_TEXT_MEMORY:
                continue
            text_bytes += num_bytes
        if chunk is not exif:
            yield chunk
        if chunk.kind == b"IHDR" and exif is not None:
            yield exif


def _late_exif(chunks: list[_Chunk]) -> _Chunk | None:
    """Returns the EXIF chunk of an animation if it follows the first frame, else None."""
    first = {chunk.kind: chunk for chunk in reversed(chunks)}
    if not {b"acTL", b"eXIf", b"IDAT"} <= first.keys():
        return None
    return first[b"eXIf"] if first[b"eXIf"].offset > first[b"IDAT"].offset else None


def _unpacked_bytes(kind: bytes, body: bytes) -> int | None:
    """Returns the decompressed size of a text or profile chunk; None if Pillow refuses it."""
    packed = b""
    name, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        is_packed, rest = rest[:1] not in (b"", b"\0"), rest[2:]
        packed = b"\0" + rest.split(b"\0", 2)[-1] if is_packed else b""
    elif kind != b"tEXt":
        packed = rest
    if not packed:
        return len(name) + len(rest)
    if packed[:1] != b"\0":
        return None
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed[1:], PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return 0
    return None if unpacking.unconsumed_tail else len(text)


def _bytes_of(file: BinaryIO, chunk: _Chunk) -> bytes:
    file.seek(chunk.offset)
    return file.read(chunk.num_bytes)
