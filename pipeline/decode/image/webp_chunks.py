"""WebP files that end too early: libwebp refuses all of one, so its whole frames are handed on alone."""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

_HAS_EXIF = 8
"""Of the flags in VP8X, the header of files of several chunks."""


def is_webp(head: bytes) -> bool:
    """Whether a file's first 12 bytes are a WebP's."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def whole_frames(path: str) -> BytesIO | None:
    """An animation of the whole frames; null without any, or where the tag that turns them is lost."""
    data = Path(path).read_bytes()
    chunks = list(_whole_chunks(data))
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
