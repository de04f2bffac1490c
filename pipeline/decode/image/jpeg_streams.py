"""Tells a Motion JPEG stream, one JPEG after another without a container, from a single JPEG."""

import re
from pathlib import Path

_NEXT_IMAGE = re.compile(rb"\xff\xd9[\x00\xff]*?\xff\xd8\xff")
"""The end of an image, padding, and the beginning of another."""
_PADDING = re.compile(rb"[\x00\xff]*?(?=\xff\xd8\xff)")
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""A marker; in coded data 0xFF is followed by 0, or by a restart marker's number."""
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END = 0xD9
_SEARCHED_BYTES = 1 << 26
"""No single frame of a stream is larger."""


def is_jpeg_stream(path: str) -> bool:
    """Returns whether a JPEG file is a stream: one of the same size and coding follows its first image.

    Previews, depth maps and other data appended to a photograph differ from it in at least one of these.
    """
    with Path(path).open("rb") as file:
        data = file.read(_SEARCHED_BYTES)
    if _NEXT_IMAGE.search(data) is None:
        return False
    header, end = _image(data, 0)
    padding = None if end is None else _PADDING.match(data, end)
    return padding is not None and header is not None and _image(data, padding.end())[0] == header


def _image(data: bytes, at: int) -> tuple[bytes | None, int | None]:
    """Returns (frame header, end) of the image at ``at``; None for what it lacks."""
    header: bytes | None = None
    at += 2
    while marker := _MARKER.search(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == _END:
            return header, at
        length = int.from_bytes(data[at : at + 2], "big")
        if kind in _FRAME_HEADERS:
            # With the marker, which names the coding.
            header = data[at - 1 : at + length]
        at += length
    return header, None
