"""The compressed stream (``.bmz``), byte by byte: header, chunks, the header again (docs/compression.md).

Pure bytes: no file is read, no token decoded. A chunk is one clip, and stands alone.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import Any

from schemas.errors import FormatError

STREAM_FORMAT_VERSION = 1

_MAGIC, _END = b"bmz", b"zmb"
_FINGERPRINT_BYTES = 16
_CHECKSUM_BYTES = 4

MOST_CLIPS = 1 << 24
MOST_LANES = 1 << 10
MOST_TILES = 1 << 8
MOST_CLIP_TOKENS = 1 << 24
"""Bounds on what a header may ask for, before anything is allocated by it."""
_MOST_FPS = 1e6
_MOST_HEADER_BYTES = 1 << 28


class StreamKind(IntEnum):
    """What was compressed."""

    PICTURES = 0
    """An image or a video."""
    TOKEN_SHARD = 1
    """A whole token shard, with all its columns."""


@dataclass(frozen=True, kw_only=True)
class ClipPlace:
    """One clip's shape in tokens, and the bytes of its chunk."""

    num_frames: int
    height: int
    width: int
    chunk_bytes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, h, w."""
        return self.num_frames, self.height, self.width


@dataclass(frozen=True, kw_only=True)
class PriorMark:
    """With which prior, and which arithmetic, a stream was coded."""

    fingerprint: str
    numerics: str
    """For people: what the rounding of floats depended on."""


@dataclass(frozen=True, kw_only=True)
class StreamHeader:
    """All that a stream says of itself before its chunks."""

    kind: StreamKind
    tokenizer_fingerprint: str
    bits_per_token: int
    patch_size_px: int
    group_bits: int
    lanes: int
    """Clips that were coded side by side."""
    prior: PriorMark | None
    """Null: order-0 counts, which are integers and so the same everywhere."""
    fps: float = 0.0
    """Of pictures: frames a second; 0 for a single image."""
    source_height: int = 0
    source_width: int = 0
    """Of pictures: pixels of the source before resizing."""
    tiles: int = 1
    """Of pictures: a frame is so many tiles wide and high, each a clip of its own, row by row."""
    shard_metadata: bytes = b""
    """Of a token shard: its own metadata, JSON."""
    row_dictionary: bytes = b""
    """Of a token shard: the preset dictionary of its deflated rows."""
    clips: tuple[ClipPlace, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One clip's bytes, taken apart."""

    row: bytes
    """Of a token shard: the row's other columns, deflated; else empty."""
    frame_checksums: tuple[int, ...]
    payload: bytes
    intact: bool = True
    """Whether the chunk's own checksum fits."""


def header_bytes(header: StreamHeader) -> bytes:
    """The header as it stands at the beginning of a stream, its checksum last."""
    body = bytearray([header.kind, header.bits_per_token, header.group_bits, header.prior is not None])
    body += _number(header.patch_size_px) + _number(header.lanes)
    body += bytes.fromhex(header.tokenizer_fingerprint)
    if header.prior is not None:
        body += bytes.fromhex(header.prior.fingerprint) + _string(header.prior.numerics.encode())
    if header.kind is StreamKind.PICTURES:
        body += _number(header.tiles) + struct.pack("<d", header.fps)
        body += _number(header.source_height) + _number(header.source_width)
    else:
        body += _string(header.shard_metadata) + _string(header.row_dictionary)
    body += _number(len(header.clips))
    # Runs of clips of one shape, then the size of each chunk.
    for shape, run in groupby(header.clips, key=lambda clip: clip.shape):
        for value in (sum(1 for _ in run), *shape):
            body += _number(value)
    for clip in header.clips:
        body += _number(clip.chunk_bytes)
    head = _MAGIC + bytes([STREAM_FORMAT_VERSION]) + _number(len(body)) + body
    return head + _checksum(head)


def chunk_bytes(
    header: StreamHeader, index: int, *, row: bytes, frame_checksums: Sequence[int], payload: bytes
) -> bytes:
    """A chunk: its row (of a token shard), a CRC-32 a frame, the coder's bytes, a CRC-32 over all that.

    ``header.clips`` is not looked at: the chunk's checksum begins with its number and the tokenizer.
    """
    parts = _string(row) if header.kind is StreamKind.TOKEN_SHARD else b""
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
            self.header, self._first = _front(data, origin)
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
        intact = len(data) == clip.chunk_bytes and data[-_CHECKSUM_BYTES:] == struct.pack(
            "<I", zlib.crc32(data[:-_CHECKSUM_BYTES], _chunk_start(self.header, index))
        )
        if len(data) == clip.chunk_bytes:
            data = data[:-_CHECKSUM_BYTES]
        cursor = _Cursor(data, self._origin)
        row = cursor.string() if self.header.kind is StreamKind.TOKEN_SHARD else b""
        checksums = struct.unpack(f"<{clip.num_frames}I", cursor.take(clip.num_frames * _CHECKSUM_BYTES))
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


def _front(data: bytes, origin: str) -> tuple[StreamHeader, int]:
    """The header at the beginning, and where the first chunk begins."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise FormatError(f"{origin} is no stream of bitmill compress (its first bytes are others).")
    cursor = _Cursor(data, origin, at=len(_MAGIC))
    version = cursor.take(1)[0]
    size = cursor.number()
    body_at = cursor.at
    end = body_at + size
    if size > _MOST_HEADER_BYTES or end + _CHECKSUM_BYTES > len(data):
        raise FormatError(f"{origin} is cut short or damaged: its header is not all there. Copy it anew.")
    # A later version may put other things between, but keeps magic, size and checksum where they are.
    if data[end : end + _CHECKSUM_BYTES] != _checksum(data[:end]):
        raise FormatError(f"The header of {origin} is damaged. Copy it anew.")
    if version != STREAM_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has stream format {version}; this bitmill reads {STREAM_FORMAT_VERSION}. Upgrade "
            "bitmill."
        )
    return _parsed(_Cursor(data[body_at:end], origin), origin), end + _CHECKSUM_BYTES


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
    header, _ = _front(data[length_at - size : length_at], origin)
    return header, length_at - size - sum(clip.chunk_bytes for clip in header.clips)


def _tail(head: bytes) -> bytes:
    return head + struct.pack("<I", len(head)) + _END


def _parsed(cursor: "_Cursor", origin: str) -> StreamHeader:
    kind, bits_per_token, group_bits, with_prior = cursor.take(4)
    _refuse_unless(kind in tuple(StreamKind), origin, f"kind {kind}")
    _refuse_unless(
        1 <= bits_per_token <= 64 and 1 <= group_bits <= 16 and bits_per_token % group_bits == 0,
        origin,
        f"{bits_per_token} bits in groups of {group_bits}",
    )
    _refuse_unless(with_prior in (0, 1), origin, f"model {with_prior}")
    patch_size_px, lanes = cursor.number(), cursor.number()
    _refuse_unless(1 <= lanes <= MOST_LANES, origin, f"{lanes} lanes")
    header = StreamHeader(
        kind=StreamKind(kind),
        bits_per_token=bits_per_token,
        group_bits=group_bits,
        patch_size_px=patch_size_px,
        lanes=lanes,
        tokenizer_fingerprint=cursor.take(_FINGERPRINT_BYTES).hex(),
        prior=_prior(cursor) if with_prior else None,
    )
    if header.kind is StreamKind.PICTURES:
        header = replace(header, **_pictures(cursor, origin))
    else:
        header = replace(header, shard_metadata=cursor.string(), row_dictionary=cursor.string())
    header = replace(header, clips=_places(cursor, header, origin))
    _refuse_unless(not cursor.rest(), origin, "more than it should say")
    return header


def _prior(cursor: "_Cursor") -> PriorMark:
    fingerprint = cursor.take(_FINGERPRINT_BYTES).hex()
    return PriorMark(fingerprint=fingerprint, numerics=cursor.string().decode("utf-8", "replace"))


def _pictures(cursor: "_Cursor", origin: str) -> dict[str, Any]:
    tiles, (fps,) = cursor.number(), struct.unpack("<d", cursor.take(8))
    _refuse_unless(1 <= tiles <= MOST_TILES, origin, f"{tiles} tiles")
    _refuse_unless(0 <= fps <= _MOST_FPS, origin, f"{fps} frames a second")
    return {
        "tiles": tiles,
        "fps": fps,
        "source_height": cursor.number(),
        "source_width": cursor.number(),
    }


def _places(cursor: "_Cursor", header: StreamHeader, origin: str) -> tuple[ClipPlace, ...]:
    count = cursor.number()
    # Each takes a byte or more: a count beyond what is left is refused before it is believed.
    _refuse_unless(count <= min(MOST_CLIPS, cursor.left), origin, f"{count} clips")
    shapes: list[tuple[int, int, int]] = []
    while len(shapes) < count:
        run, frames, height, width = (cursor.number() for _ in range(4))
        _refuse_unless(1 <= run <= count - len(shapes), origin, f"{run} clips alike")
        _refuse_unless(
            min(frames, height, width) > 0 and frames * height * width <= MOST_CLIP_TOKENS,
            origin,
            f"a clip of {frames} × {height} × {width} tokens",
        )
        shapes += [(frames, height, width)] * run
    row_bytes = 1 if header.kind is StreamKind.TOKEN_SHARD else 0
    places: list[ClipPlace] = []
    for frames, height, width in shapes:
        size = cursor.number()
        _refuse_unless(size >= row_bytes + (frames + 1) * _CHECKSUM_BYTES, origin, f"a chunk of {size} bytes")
        places.append(ClipPlace(num_frames=frames, height=height, width=width, chunk_bytes=size))
    return tuple(places)


def _refuse_unless(fits: bool, origin: str, what: str) -> None:
    if not fits:
        raise FormatError(f"The header of {origin} tells of {what}, which no stream has.")


def _chunk_start(header: StreamHeader, index: int) -> int:
    """So that a chunk of another stream, or at another's place, does not pass for this one."""
    return zlib.crc32(struct.pack("<I", index) + bytes.fromhex(header.tokenizer_fingerprint))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow (LEB128)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _string(data: bytes) -> bytes:
    return _number(len(data)) + data


class _Cursor:
    """Reads on through bytes. Raises FormatError at their end."""

    def __init__(self, data: bytes, origin: str, *, at: int = 0) -> None:
        self._data, self._origin, self.at = data, origin, at

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise FormatError(f"{self._origin} is cut short or damaged. Copy it anew.")
        self.at += count
        return self._data[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(self.left)

    def string(self) -> bytes:
        return self.take(self.number())

    def number(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise FormatError(f"{self._origin} is damaged: a number in it has no end. Copy it anew.")
