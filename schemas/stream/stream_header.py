"""The header of a compressed stream: its fields and its byte layout, written, checked and read."""

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import Any

from bitmill.schemas.errors import FormatError
from bitmill.schemas.stream.cursor import Cursor, number_bytes, string_bytes

STREAM_FORMAT_VERSION = 1

_MAGIC = b"bmz"
_FINGERPRINT_BYTES = 16
CHECKSUM_BYTES = 4

MOST_CLIPS = 1 << 24
MOST_LANES = 1 << 10
MOST_TILES = 1 << 8
MOST_CLIP_TOKENS = 1 << 24
"""Limits on a header's values, checked before anything is allocated."""
_MOST_FPS = 1e6
_MOST_HEADER_BYTES = 1 << 28


class StreamKind(IntEnum):
    """The kind of content of a stream."""

    PICTURES = 0
    """An image or a video."""
    TOKEN_SHARD = 1
    """A whole token shard, with all its columns."""


@dataclass(frozen=True, kw_only=True)
class ClipPlace:
    """One clip's shape in tokens, and its chunk's size."""

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
    """The prior and the platform that a stream was coded with."""

    fingerprint: str
    numerics: str
    """Human-readable: what the rounding of floats depends on."""


@dataclass(frozen=True, kw_only=True)
class StreamHeader:
    """The header of a stream."""

    kind: StreamKind
    tokenizer_fingerprint: str
    bits_per_token: int
    patch_size_px: int
    group_bits: int
    lanes: int
    """Clips that were coded in parallel."""
    prior: PriorMark | None
    """None: order-0 counts, which are integers and so identical on every machine."""
    fps: float = 0.0
    """For pictures: frames per second; 0 for a single image."""
    source_height: int = 0
    source_width: int = 0
    """For pictures: pixels of the source before resizing."""
    tiles: int = 1
    """For pictures: tiles per frame side; each tile is a separate clip, row by row."""
    shard_metadata: bytes = b""
    """For a token shard: its metadata, JSON."""
    row_dictionary: bytes = b""
    """For a token shard: the preset dictionary of its deflated rows."""
    clips: tuple[ClipPlace, ...] = ()


def header_bytes(header: StreamHeader) -> bytes:
    """Return the header's bytes, with the checksum at the end."""
    body = bytearray([header.kind, header.bits_per_token, header.group_bits, header.prior is not None])
    body += number_bytes(header.patch_size_px) + number_bytes(header.lanes)
    body += bytes.fromhex(header.tokenizer_fingerprint)
    if header.prior is not None:
        body += bytes.fromhex(header.prior.fingerprint) + string_bytes(header.prior.numerics.encode())
    if header.kind is StreamKind.PICTURES:
        body += number_bytes(header.tiles) + struct.pack("<d", header.fps)
        body += number_bytes(header.source_height) + number_bytes(header.source_width)
    else:
        body += string_bytes(header.shard_metadata) + string_bytes(header.row_dictionary)
    body += number_bytes(len(header.clips))
    # Runs of clips of one shape, then the size of each chunk.
    for shape, run in groupby(header.clips, key=lambda clip: clip.shape):
        for value in (sum(1 for _ in run), *shape):
            body += number_bytes(value)
    for clip in header.clips:
        body += number_bytes(clip.chunk_bytes)
    head = _MAGIC + bytes([STREAM_FORMAT_VERSION]) + number_bytes(len(body)) + body
    return head + _checksum(head)


def read_header(data: bytes, origin: str) -> tuple[StreamHeader, int]:
    """Parse the header at the start of ``data``; return it and its end offset. Raises FormatError."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise FormatError(f"{origin} is not a stream of bitmill compress (its first bytes differ).")
    cursor = Cursor(data, origin, at=len(_MAGIC))
    version = cursor.take(1)[0]
    size = cursor.number()
    body_at = cursor.at
    end = body_at + size
    if size > _MOST_HEADER_BYTES or end + CHECKSUM_BYTES > len(data):
        raise FormatError(f"{origin} is truncated or damaged: its header is incomplete. Copy it again.")
    # Later versions may change the body, but keep magic, size and checksum in place.
    if data[end : end + CHECKSUM_BYTES] != _checksum(data[:end]):
        raise FormatError(f"The header of {origin} is damaged. Copy it again.")
    if version != STREAM_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has stream format {version}; this bitmill reads {STREAM_FORMAT_VERSION}. Upgrade "
            "bitmill."
        )
    return _parsed(Cursor(data[body_at:end], origin), origin), end + CHECKSUM_BYTES


def _parsed(cursor: Cursor, origin: str) -> StreamHeader:
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


def _prior(cursor: Cursor) -> PriorMark:
    fingerprint = cursor.take(_FINGERPRINT_BYTES).hex()
    return PriorMark(fingerprint=fingerprint, numerics=cursor.string().decode("utf-8", "replace"))


def _pictures(cursor: Cursor, origin: str) -> dict[str, Any]:
    tiles, (fps,) = cursor.number(), struct.unpack("<d", cursor.take(8))
    _refuse_unless(1 <= tiles <= MOST_TILES, origin, f"{tiles} tiles")
    _refuse_unless(0 <= fps <= _MOST_FPS, origin, f"{fps} frames a second")
    return {
        "tiles": tiles,
        "fps": fps,
        "source_height": cursor.number(),
        "source_width": cursor.number(),
    }


def _places(cursor: Cursor, header: StreamHeader, origin: str) -> tuple[ClipPlace, ...]:
    count = cursor.number()
    # Each clip takes at least one byte, so a count beyond the remaining bytes is invalid.
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
        _refuse_unless(size >= row_bytes + (frames + 1) * CHECKSUM_BYTES, origin, f"a chunk of {size} bytes")
        places.append(ClipPlace(num_frames=frames, height=height, width=width, chunk_bytes=size))
    return tuple(places)


def _refuse_unless(fits: bool, origin: str, what: str) -> None:
    if not fits:
        raise FormatError(f"The header of {origin} declares {what}, which is invalid.")


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
