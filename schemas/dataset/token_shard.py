"""The token shard: a Parquet file with one row per clip, readable by any Parquet reader (docs/format.md)."""

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.requests.job import describe_validation

TOKEN_SHARD_FORMAT_VERSION = 1

TOKEN_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("key", pa.string()),
    pa.field("start_ns", pa.int64(), nullable=False),
    pa.field("end_ns", pa.int64(), nullable=False),
    pa.field("fps", pa.float64()),
    pa.field("frame_pts_ns", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False),
    pa.field("num_frames", pa.int32(), nullable=False),
    pa.field("height", pa.int32(), nullable=False),
    pa.field("width", pa.int32(), nullable=False),
    pa.field("source_height", pa.int32(), nullable=False),
    pa.field("source_width", pa.int32(), nullable=False),
    pa.field("codes", pa.large_binary(), nullable=False),
    pa.field("metadata", pa.string()),
]

_META_KEY = b"bitmill"


class ShardMetadata(BaseModel):
    """A token shard's metadata, stored as JSON under the key ``bitmill`` of its schema metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = "token-shard"
    format_version: int = TOKEN_SHARD_FORMAT_VERSION
    bits_per_token: int
    patch_size_px: int
    tokenizer_fingerprint: str
    job_fingerprint: str
    shard_id: str


def token_shard_schema(metadata: ShardMetadata) -> pa.Schema:
    """Return the Arrow schema of a token shard, with its metadata."""
    return pa.schema(TOKEN_COLUMNS, metadata={_META_KEY: canonical_json(metadata.model_dump()).encode()})


def read_shard_metadata(schema: pa.Schema, *, origin: str) -> ShardMetadata:
    """Read an opened shard's metadata. Raises FormatError naming ``origin`` if it is not a token shard."""
    raw = (schema.metadata or {}).get(_META_KEY)
    if raw is None:
        raise FormatError(f"{origin} is a Parquet file but no bitmill token shard (no 'bitmill' metadata).")
    try:
        metadata = ShardMetadata.model_validate_json(raw)
    except ValidationError as error:
        raise FormatError(f"{origin} has damaged shard metadata: {describe_validation(error)}") from error
    if metadata.format != "token-shard":
        raise FormatError(f"{origin} is a bitmill {metadata.format}, not a token shard.")
    if metadata.format_version > TOKEN_SHARD_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has token shard format {metadata.format_version}; this bitmill reads up to "
            f"{TOKEN_SHARD_FORMAT_VERSION}. Upgrade bitmill."
        )
    check_columns(schema, pa.schema(TOKEN_COLUMNS), origin=origin)
    return metadata


def check_columns(schema: pa.Schema, expected: pa.Schema, *, origin: str) -> None:
    """Raise FormatError if a column of ``expected`` is missing or has another type."""
    for field in expected:
        index = schema.get_field_index(field.name)
        if index < 0:
            raise FormatError(f"{origin} lacks the column {field.name!r}.")
        if schema.field(index).type != field.type:
            raise FormatError(
                f"{origin}: column {field.name!r} has type {schema.field(index).type}, not {field.type}."
            )
