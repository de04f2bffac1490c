"""Detects files that end before the sizes in their headers; reads headers only."""

from pathlib import Path

from bitmill.pipeline.decode.video.mp4_boxes import boxes

_UNKNOWN_SIZES = (0, 2**32 - 1)
"""Of RIFF chunks: FFmpeg writes the latter, others the former."""


def has_whole_index(path: str) -> bool:
    """Returns whether an MP4 or QuickTime file has a complete ``moov`` box at the top level."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        for box in boxes(file, 0, size):
            if box.kind == b"moov":
                return box.end <= size
            if not box.kind:
                return True
    return False


def boxes_are_cut(path: str) -> bool:
    """Returns whether a top-level box of an AVIF or similar file extends beyond the end of the file."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        return any(box.end > size for box in boxes(file, 0, size))


def riff_is_cut(path: str) -> bool:
    """Returns whether a RIFF chunk of an AVI or WebP (long files have several) extends beyond the file.

    A chunk written to a pipe has no size.
    """
    size = Path(path).stat().st_size
    at = 0
    with Path(path).open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(8)
            if header[:4] != b"RIFF":
                return False
            num_bytes = int.from_bytes(header[4:], "little")
            if num_bytes in _UNKNOWN_SIZES:
                return False
            at += 8 + num_bytes
    return at > size


def matroska_is_cut(path: str) -> bool:
    """Returns whether the segment's declared size extends beyond the file (live streams declare none)."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(4096)
    header_bytes, length = _ebml_size(head, 4)
    at = 4 + length + (header_bytes or 0)
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return False
    segment_bytes, length = _ebml_size(head, at + 4)
    return segment_bytes is not None and at + 4 + length + segment_bytes > size


def _ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """Returns (value, encoded bytes) of a variable-length size; the value is None if it means unknown."""
    first = data[at] if at < len(data) else 0
    length = 9 - first.bit_length()
    if length > 8:
        return None, 1
    unknown = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & unknown
    return (None if value == unknown else value), length
