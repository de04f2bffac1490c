"""The boxes that MP4, QuickTime and AVIF files are made of, and what they say without a decoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_ENTRY_BYTES = 86
"""Of a video's sample entry, up to the boxes in it."""


class Box(NamedTuple):
    """Where a box lies; its kind is empty where nothing can be made of the bytes from here on."""

    kind: bytes
    body: int
    end: int
    """Beyond the file where this is cut off."""


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[Box]:
    """The boxes between two places, one after another, not those within them."""
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
    """Whether an MP4 or QuickTime file keeps that track's pictures under a key (``encv``, ``sinf``)."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        for moov in _of_kind(file, 0, size, b"moov"):
            for track in _of_kind(file, *moov[1:], b"trak"):
                if _track_id(file, track) == track_id:
                    return any(_has_key(file, entry) for entry in _sample_entries(file, track))
    return False


def _of_kind(file: BinaryIO, at: int, end: int, *kinds: bytes) -> Iterator[Box]:
    """Boxes of the first kind, or those of the second in them, and so on."""
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
