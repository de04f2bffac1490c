"""Extracts the complete frames of a truncated WebP, which libwebp would refuse as a whole."""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

_HAS_EXIF = 8
"""Flag in VP8X, the header of files with several chunks."""


def is_webp(head: bytes) -> bool:
    """Returns whether a file's first 12 bytes are those of a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def whole_frames(path: str) -> BytesIO | None:
    """Returns an animation of the complete frames; None without any, or if their EXIF orientation is lost."""
    chunks = list(_whole_chunks(Path(path).read_bytes()))
    kinds = [chunk[:4] for chunk in chunks]
    if b"ANMF" not in kinds:
        return None
    if kinds[0] == b"VP8X" and chunks[0][8] & _HAS_EXIF and b"EXIF" not in kinds:
        return None
    body = b"WEBP" + b"".join(chunks)
    return BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def _whole_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        if at + 8 + length > len(data):
            return
        yield data[at : at + 8 + length] + b"\0" * (length % 2)
        at += 8 + length + length % 2
