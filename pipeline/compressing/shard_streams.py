"""Compresses a token shard to a stream and restores an equal table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bitmill.pipeline.compressing.clip_streams import (
    LoadedPrior,
    OnFrames,
    RestoredClip,
    StreamClip,
    compress_clips,
    restore_clips,
)
from bitmill.pipeline.compressing.row_metadata import row_bytes, row_dictionary, row_of_bytes
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes
from bitmill.schemas.dataset.token_shard import ShardMetadata, read_shard_metadata, token_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.requests.job import StorageSpec
from bitmill.schemas.stream.compressed import CompressedStream
from bitmill.schemas.stream.stream_header import StreamHeader, StreamKind


@dataclass(frozen=True, kw_only=True)
class ShardClips:
    """A token shard's rows in memory."""

    metadata: ShardMetadata
    rows: list[dict[str, Any]]

    @property
    def geometry(self) -> Geometry:
        """What the shard tells of its tokenizer's geometry."""
        return _geometry(self.metadata)

    @property
    def num_rows(self) -> int:
        """Token rows of all clips."""
        return sum(row["num_frames"] for row in self.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of all clips."""
        return sum(self.geometry.num_tokens(_shape(row)) for row in self.rows)


def read_shard(file: BinaryIO, *, origin: str) -> ShardClips:
    """Read a whole shard. Raises FormatError if it is damaged or has columns unknown to token shards."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False) as parquet:
            metadata = read_shard_metadata(parquet.schema_arrow, origin=origin)
            known = {field.name for field in token_columns(metadata.format_version)}
            unknown = sorted({*parquet.schema_arrow.names} - known)
            if unknown:
                raise FormatError(
                    f"{origin} has columns that a token shard does not have ({', '.join(unknown)}); a stream "
                    "would lose them. Remove these columns."
                )
            shard = ShardClips(metadata=metadata, rows=parquet.read().to_pylist())
            _ = shard.num_tokens
            return shard
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{origin} is damaged: {' '.join(str(error).split())}") from error
    except KeyError as error:
        raise FormatError(f"{origin} is damaged: it has no schedule of the grid {error}.") from error


def compress_shard(
    shard: ShardClips,
    prior: LoadedPrior | None,
    lanes: int,
    *,
    origin: str,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Compress a shard to a stream. Raises FormatError if its codes are damaged."""
    metadata, version = shard.metadata, shard.metadata.format_version
    header = StreamHeader(
        kind=StreamKind.TOKEN_SHARD,
        tokenizer_fingerprint=metadata.tokenizer_fingerprint,
        geometry=shard.geometry,
        group_bits=1,
        lanes=lanes,
        prior=None,
        shard_version=version,
        shard_metadata=canonical_json(metadata.document()).encode(),
        row_dictionary=row_dictionary(shard.rows, version),
    )
    clips = [_clip(row, header, origin) for row in shard.rows]
    return compress_clips(header, clips, prior, on_frames=on_frames)


def restore_shard(
    stream: CompressedStream,
    prior: LoadedPrior | None,
    path: Path,
    *,
    origin: str,
    salvage: bool,
    on_frames: OnFrames = lambda _: None,
) -> list[RestoredClip]:
    """Write the shard to ``path``; return its clips. With ``salvage``, incomplete clips are not written.

    Raises FormatError if a row or the header is damaged.
    """
    metadata = _metadata(stream, origin)
    clips: list[RestoredClip] = []
    try:
        with TokenShardWriter(path, metadata, StorageSpec()) as writer:
            for clip in restore_clips(stream, prior, origin=origin, salvage=salvage, on_frames=on_frames):
                clips.append(clip)
                if clip.complete:
                    writer.add(_row(clip, stream.header, origin))
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise FormatError(f"A row of {origin} has values that a token shard cannot store.") from error
    return clips


def _metadata(stream: CompressedStream, origin: str) -> ShardMetadata:
    header = stream.header
    try:
        metadata = ShardMetadata.parse(header.shard_metadata)
        told = (metadata.format_version, metadata.tokenizer_fingerprint, _geometry(metadata))
    except ValidationError as error:
        raise FormatError(f"The header of {origin} has no metadata of a token shard.") from error
    if told != (header.shard_version, header.tokenizer_fingerprint, header.geometry):
        raise FormatError(f"The header of {origin} contradicts the shard's own metadata.")
    return metadata


def _geometry(metadata: ShardMetadata) -> Geometry:
    return Geometry(
        layout=metadata.layout,
        patch_px=metadata.patch_px,
        frames_per_token=metadata.frames_per_token,
        schedules=metadata.schedules,
        code=metadata.code,
    )


def _clip(row: dict[str, Any], header: StreamHeader, origin: str) -> StreamClip:
    code, shape = header.geometry.code, _shape(row)
    try:
        codes_ND = unpack_codes(row["codes"], header.geometry.num_tokens(shape), code)
    except ValueError as error:
        raise FormatError(f"{origin}: clip {row['clip_id']} is damaged: {error}") from error
    is_grid = header.geometry.layout == "grid"
    return StreamClip(
        codes=codes_ND.reshape(*shape, -1) if is_grid else codes_ND,
        shape_thw=shape,
        num_frames=row.get("num_real_frames", row["num_frames"]),
        row=row_bytes(row, header.shard_version, header.row_dictionary),
    )


def _shape(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["num_frames"], row["height"], row["width"]


def _row(clip: RestoredClip, header: StreamHeader, origin: str) -> TokenRow:
    num_rows, height, width = clip.place.shape
    return TokenRow(
        **row_of_bytes(clip.row, header.shard_version, header.row_dictionary, origin=origin),
        num_frames=num_rows,
        height=height,
        width=width,
        codes=pack_codes(clip.codes.reshape(-1, clip.codes.shape[-1]), header.geometry.code),
    )


def lost_ids(clips: Sequence[RestoredClip], header: StreamHeader) -> list[str]:
    """Return the ids of clips that salvage did not write; clips without a readable row by their number."""
    found: list[str] = []
    for clip in clips:
        if not clip.complete:
            try:
                row = row_of_bytes(clip.row, header.shard_version, header.row_dictionary, origin="")
                found.append(row["clip_id"])
            except FormatError:
                found.append(f"number {clip.index + 1}")
    return found
