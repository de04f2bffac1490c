"""Parses the boxes of MP4, QuickTime and AVIF files without a decoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_ENTRY_BYTES = 86
"""Bytes of a video's sample entry before its child boxes."""


class Box(NamedTuple):
    """The position of a box; an empty kind means that the bytes from here on cannot be parsed."""

    kind: bytes
    body: int
    end: int
    """Beyond the end of the file if the file is cut off."""


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[Box]:
    """Yields the consecutive boxes between two offsets, without their children."""
    while at + 8 <= end:
        file.seek(at)
        header = file.read(16)
        length, body = int.from_bytes(header[:4], "big"), at + 8
        if length == 1:
            length, body = int.from_bytes(header[8:], "big"), at + 16
        length = length or end - at
        yield Box(header[4:8] if length >= 8 else b"", body, at + length)
        if length < 8:
            return
        at += length


def is_encrypted(path: str, track_id: int) -> bool:
    """Returns whether that track of an MP4 or QuickTime file is encrypted (``encv``, ``sinf``)."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        for moov in _of_kind(file, 0, size, b"moov"):
            for track in _of_kind(file, *moov[1:], b"trak"):
                if _track_id(file, track) == track_id:
                    return any(_has_key(file, entry) for entry in _sample_entries(file, track))
    return False


def _of_kind(file: BinaryIO, at: int, end: int, *kinds: bytes) -> Iterator[Box]:
    """Yields the boxes at a path of kinds: in boxes of the first kind those of the second, and so on."""
    for box in boxes(file, at, end):
        if box.kind == kinds[0]:
            yield from _of_kind(file, box.body, box.end, *kinds[1:]) if kinds[1:] else (box,)


def _track_id(file: BinaryIO, track: Box) -> int | None:
    for header in _of_kind(file, track.body, track.end, b"tkhd"):
        file.seek(header.body)
        start = file.read(24)
        return int.from_bytes(start[20:24] if start[:1] == b"\x01" else start[12:16], "big")
    return None


def _sample_entries(file: BinaryIO, track: Box) -> Iterator[Box]:
    for table in _of_kind(file, track.body, track.end, b"mdia", b"minf", b"stbl", b"stsd"):
        yield from boxes(file, table.body + 8, table.end)


def _has_key(file: BinaryIO, entry: Box) -> bool:
    inner = boxes(file, entry.body - 8 + _ENTRY_BYTES, entry.end)
    return entry.kind == b"encv" or any(box.kind == b"sinf" for box in inner)
