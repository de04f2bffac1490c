"""The header of a compressed stream: its fields and its byte layout, written, checked and read."""

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from bitmill.schemas.dataset.token_shard import TOKEN_SHARD_FORMAT_VERSION
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.stream.cursor import Cursor, number_bytes, string_bytes
from bitmill.schemas.stream.deflated_geometry import deflated_geometry, inflated_geometry

STREAM_FORMAT_VERSION = 3
"""2: tokens of any geometry, token shards of version 2. 3: the geometry is deflated. What version 1 can say
is written in version 1."""

_MAGIC = b"bmz"
_FINGERPRINT_BYTES = 16
CHECKSUM_BYTES = 4

MOST_CLIPS = 1 << 24
MOST_LANES = 1 << 10
MOST_TILES = 1 << 8
MOST_CLIP_TOKENS = 1 << 24
MOST_CLIP_FRAMES = 1 << 24
MOST_VALUES = 1 << 30
"""Limits on a header's values, checked before anything is allocated; the last one is on the code dimensions
of a clip, and of the rows that all lanes decode together."""
_MOST_FPS = 1e6
_MOST_HEADER_BYTES = 1 << 28
_MOST_GROUP_BITS = 16
_MOST_BITS_1 = 64
"""Bits per token that version 1 can say."""


class StreamKind(IntEnum):
    """The kind of content of a stream."""

    PICTURES = 0
    """An image or a video."""
    TOKEN_SHARD = 1
    """A whole token shard, with all its columns."""


@dataclass(frozen=True, kw_only=True)
class ClipPlace:
    """One clip's token grid, its frames, and its chunk's size."""

    num_rows: int
    height: int
    width: int
    num_frames: int
    """Frames of the source; the others that the rows decode to are padding."""
    chunk_bytes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """t, h, w."""
        return self.num_rows, self.height, self.width


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
    geometry: Geometry
    """The tokenizer's, or what a token shard tells of it. Version 1 stores L and the patch size of it."""
    group_bits: int
    """g: of bits, how many are a symbol; else 1."""
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
    shard_version: int = 1
    """For a token shard: its format version."""
    shard_metadata: bytes = b""
    """For a token shard: its metadata, JSON."""
    row_dictionary: bytes = b""
    """For a token shard: the preset dictionary of its deflated rows."""
    clips: tuple[ClipPlace, ...] = ()

    @property
    def format_version(self) -> int:
        """The oldest version that can say this."""
        told, code = self.geometry, self.geometry.code
        is_plain = (
            (told.layout, told.frames_per_token, told.patch_px[0]) == ("grid", 1, told.patch_px[1])
            and code == Code.of_bits(code.bits_per_token)
            and code.bits_per_token <= _MOST_BITS_1
            and self.shard_version == 1
            and all(clip.num_frames == clip.num_rows for clip in self.clips)
        )
        return 1 if is_plain else STREAM_FORMAT_VERSION

    def coded_shape(self, clip: ClipPlace) -> tuple[int, int, int]:
        """Return t, h, w of a clip's tokens in the order of coding: all tokens of a pyramid are one row."""
        if self.geometry.layout == "grid":
            return clip.shape
        return 1, 1, self.geometry.num_tokens(clip.shape)


def header_bytes(header: StreamHeader) -> bytes:
    """Return the header's bytes, with the checksum at the end."""
    version, geometry = header.format_version, header.geometry
    if version == 1:
        body = bytearray([header.kind, geometry.code.bits_per_token, header.group_bits])
        body += bytes([header.prior is not None]) + number_bytes(geometry.patch_px[0])
    else:
        body = bytearray([header.kind, header.group_bits, header.prior is not None])
        body += string_bytes(deflated_geometry(canonical_json(geometry.model_dump(mode="json")).encode()))
    body += number_bytes(header.lanes) + bytes.fromhex(header.tokenizer_fingerprint)
    if header.prior is not None:
        body += bytes.fromhex(header.prior.fingerprint) + string_bytes(header.prior.numerics.encode())
    if header.kind is StreamKind.PICTURES:
        body += number_bytes(header.tiles) + struct.pack("<d", header.fps)
        body += number_bytes(header.source_height) + number_bytes(header.source_width)
    else:
        body += number_bytes(header.shard_version) if version > 1 else b""
        body += string_bytes(header.shard_metadata) + string_bytes(header.row_dictionary)
    body += number_bytes(len(header.clips))
    # Runs of clips of one shape, then the size of each chunk.
    for shape, run in groupby(header.clips, key=lambda clip: (*clip.shape, clip.num_frames)):
        for value in (sum(1 for _ in run), *(shape if version > 1 else shape[:3])):
            body += number_bytes(value)
    for clip in header.clips:
        body += number_bytes(clip.chunk_bytes)
    head = _MAGIC + bytes([version]) + number_bytes(len(body)) + body
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
    if not 1 <= version <= STREAM_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has stream format {version}; this bitmill reads up to {STREAM_FORMAT_VERSION}. "
            "Upgrade bitmill."
        )
    return _parsed(Cursor(data[body_at:end], origin), version, origin), end + CHECKSUM_BYTES


def _parsed(cursor: Cursor, version: int, origin: str) -> StreamHeader:
    (kind,) = cursor.take(1)
    _refuse_unless(kind in tuple(StreamKind), origin, f"kind {kind}")
    geometry, group_bits, with_prior = _tokens(cursor, version, origin)
    lanes = cursor.number()
    _refuse_unless(1 <= lanes <= MOST_LANES, origin, f"{lanes} lanes")
    header = StreamHeader(
        kind=StreamKind(kind),
        geometry=geometry,
        group_bits=group_bits,
        lanes=lanes,
        tokenizer_fingerprint=cursor.take(_FINGERPRINT_BYTES).hex(),
        prior=_prior(cursor) if with_prior else None,
    )
    if header.kind is StreamKind.PICTURES:
        header = replace(header, **_pictures(cursor, origin))
    else:
        shard_version = cursor.number() if version > 1 else 1
        is_known = 1 <= shard_version <= TOKEN_SHARD_FORMAT_VERSION
        _refuse_unless(is_known, origin, f"a token shard of format {shard_version}")
        header = replace(
            header,
            shard_version=shard_version,
            shard_metadata=cursor.string(),
            row_dictionary=cursor.string(),
        )
    header = replace(header, clips=_places(cursor, header, version, origin))
    _refuse_unless(not cursor.rest(), origin, "more than it should say")
    return header


def _tokens(cursor: Cursor, version: int, origin: str) -> tuple[Geometry, int, int]:
    """Read the geometry, the bits of a group, and whether there is a prior."""
    if version == 1:
        bits_per_token, group_bits, with_prior = cursor.take(3)
        patch_px = cursor.number()
        fits = 1 <= bits_per_token <= _MOST_BITS_1 and patch_px > 0
        _refuse_unless(fits, origin, f"{bits_per_token} bits, {patch_px} pixels")
        geometry = Geometry(patch_px=(patch_px, patch_px), code=Code.of_bits(bits_per_token))
    else:
        group_bits, with_prior = cursor.take(2)
        stored = cursor.string()
        try:
            geometry = Geometry.model_validate_json(stored if version == 2 else inflated_geometry(stored))
        except (ValidationError, zlib.error) as error:
            raise FormatError(f"The header of {origin} has no valid geometry of tokens.") from error
    _refuse_unless(with_prior in (0, 1), origin, f"model {with_prior}")
    code = geometry.code
    # Version 2 writes groups with a prior alone; counts of large groups would need much memory.
    most = _MOST_GROUP_BITS if code.kind == "bits" and (with_prior or version == 1) else 1
    _refuse_unless(
        1 <= group_bits <= most and code.bits_per_token % group_bits == 0,
        origin,
        f"{code.bits_per_token} bits in groups of {group_bits}",
    )
    _refuse_unless(not with_prior or code.kind != "index", origin, f"a prior for {code.kind}")
    return geometry, group_bits, with_prior


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


def _places(cursor: Cursor, header: StreamHeader, version: int, origin: str) -> tuple[ClipPlace, ...]:
    count = cursor.number()
    # Each clip takes at least one byte, so a count beyond the remaining bytes is invalid.
    _refuse_unless(count <= min(MOST_CLIPS, cursor.left), origin, f"{count} clips")
    clips: list[ClipPlace] = []
    while len(clips) < count:
        run, rows, height, width = (cursor.number() for _ in range(4))
        _refuse_unless(1 <= run <= count - len(clips), origin, f"{run} clips alike")
        clip = ClipPlace(
            num_rows=rows,
            height=height,
            width=width,
            num_frames=cursor.number() if version > 1 else rows,
            chunk_bytes=0,
        )
        _check_clip(clip, header, origin)
        clips += [clip] * run
    row_bytes = 1 if header.kind is StreamKind.TOKEN_SHARD else 0
    places: list[ClipPlace] = []
    for clip in clips:
        size = cursor.number()
        least = row_bytes + (header.coded_shape(clip)[0] + 1) * CHECKSUM_BYTES
        _refuse_unless(size >= least, origin, f"a chunk of {size} bytes")
        places.append(replace(clip, chunk_bytes=size))
    return tuple(places)


def _check_clip(clip: ClipPlace, header: StreamHeader, origin: str) -> None:
    what = f"a clip of {clip.num_rows} × {clip.height} × {clip.width} tokens"
    _refuse_unless(min(clip.shape) > 0, origin, what)
    try:
        rows, height, width = header.coded_shape(clip)
    except KeyError as error:
        raise FormatError(f"The header of {origin} declares {what}, of which it has no schedule.") from error
    row_values = height * width * header.geometry.code.dimensions
    _refuse_unless(
        rows * height * width <= MOST_CLIP_TOKENS and max(rows, header.lanes) * row_values <= MOST_VALUES,
        origin,
        what,
    )
    _refuse_unless(1 <= clip.num_frames <= MOST_CLIP_FRAMES, origin, f"a clip of {clip.num_frames} frames")


def _refuse_unless(fits: bool, origin: str, what: str) -> None:
    if not fits:
        raise FormatError(f"The header of {origin} declares {what}, which is invalid.")


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
