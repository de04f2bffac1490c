"""Compresses a token shard to a stream and restores an equal table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bitmill.pipeline.compressing.clip_streams import (
    LoadedPrior,
    OnFrames,
    RestoredClip,
    compress_clips,
    restore_clips,
)
from bitmill.pipeline.compressing.row_metadata import row_bytes, row_dictionary, row_of_bytes
from bitmill.pipeline.shard.parquet_writer import TokenRow, TokenShardWriter
from bitmill.schemas.dataset.packing import pack_bits, unpack_bits
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, ShardMetadata, read_shard_metadata
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.requests.job import StorageSpec
from bitmill.schemas.stream.compressed import CompressedStream
from bitmill.schemas.stream.stream_header import StreamHeader, StreamKind


@dataclass(frozen=True, kw_only=True)
class ShardClips:
    """A token shard's rows in memory."""

    metadata: ShardMetadata
    rows: list[dict[str, Any]]

    @property
    def num_frames(self) -> int:
        """Number of frames of all clips."""
        return sum(row["num_frames"] for row in self.rows)


def read_shard(file: BinaryIO, *, origin: str) -> ShardClips:
    """Read a whole shard. Raises FormatError if it is damaged or has columns unknown to token shards."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False) as parquet:
            metadata = read_shard_metadata(parquet.schema_arrow, origin=origin)
            unknown = sorted({*parquet.schema_arrow.names} - {field.name for field in TOKEN_COLUMNS})
            if unknown:
                raise FormatError(
                    f"{origin} has columns that a token shard does not have ({', '.join(unknown)}); a stream "
                    "would lose them. Remove these columns."
                )
            return ShardClips(metadata=metadata, rows=parquet.read().to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{origin} is damaged: {' '.join(str(error).split())}") from error


def compress_shard(
    shard: ShardClips,
    prior: LoadedPrior | None,
    lanes: int,
    *,
    origin: str,
    on_frames: OnFrames = lambda _: None,
) -> bytes:
    """Compress a shard to a stream. Raises FormatError if its codes are damaged."""
    dictionary = row_dictionary(shard.rows)
    bits_per_token = shard.metadata.bits_per_token
    header = StreamHeader(
        kind=StreamKind.TOKEN_SHARD,
        tokenizer_fingerprint=shard.metadata.tokenizer_fingerprint,
        bits_per_token=bits_per_token,
        patch_size_px=shard.metadata.patch_px[0],
        group_bits=1,
        lanes=lanes,
        prior=None,
        shard_metadata=canonical_json(shard.metadata.document()).encode(),
        row_dictionary=dictionary,
    )
    clips = [_bits(row, bits_per_token, origin) for row in shard.rows]
    rows = [row_bytes(row, dictionary) for row in shard.rows]
    return compress_clips(header, clips, prior, rows=rows, on_frames=on_frames)


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
    try:
        metadata = ShardMetadata.parse(stream.header.shard_metadata)
    except ValidationError as error:
        raise FormatError(f"The header of {origin} has no metadata of a token shard.") from error
    header = stream.header
    told = (header.bits_per_token, header.tokenizer_fingerprint, header.patch_size_px)
    if told != (metadata.bits_per_token, metadata.tokenizer_fingerprint, metadata.patch_px[0]):
        raise FormatError(f"The header of {origin} contradicts the shard's own metadata.")
    return metadata


def _bits(row: dict[str, Any], bits_per_token: int, origin: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    shape = (row["num_frames"], row["height"], row["width"])
    try:
        bits_NL = unpack_bits(row["codes"], int(np.prod(shape)), bits_per_token)
    except ValueError as error:
        raise FormatError(f"{origin}: clip {row['clip_id']} is damaged: {error}") from error
    return bits_NL.reshape(*shape, bits_per_token)


def _row(clip: RestoredClip, header: StreamHeader, origin: str) -> TokenRow:
    num_frames, height, width, num_bits = clip.bits_ThwL.shape
    columns = row_of_bytes(clip.row, header.row_dictionary, origin=origin)
    return TokenRow(
        **columns,
        num_frames=num_frames,
        height=height,
        width=width,
        codes=pack_bits(clip.bits_ThwL.reshape(-1, num_bits)),
    )


def lost_ids(clips: Sequence[RestoredClip], header: StreamHeader) -> list[str]:
    """Return the ids of clips that salvage did not write; clips without a readable row by their number."""
    found: list[str] = []
    for clip in clips:
        if not clip.complete:
            try:
                found.append(row_of_bytes(clip.row, header.row_dictionary, origin="")["clip_id"])
            except FormatError:
                found.append(f"number {clip.index + 1}")
    return found
