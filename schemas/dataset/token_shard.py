"""The token shard: a Parquet file with one row per clip, readable by any Parquet reader (docs/format.md)."""

from contextlib import suppress
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.models.geometry import Code, Grid, SizePx
from bitmill.schemas.requests.job import ShardVersion
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel
from bitmill.schemas.versioned import refuse_newer

TOKEN_SHARD_FORMAT_VERSION: ShardVersion = 2
"""2: token grids of other geometries and codes than BSQ-ViT's, and the columns after ``source_width``."""

_SINCE_2: "list[pa.Field[Any]]" = [
    pa.field("scaled_height", pa.int32(), nullable=False),
    pa.field("scaled_width", pa.int32(), nullable=False),
    pa.field("crop_top", pa.int32(), nullable=False),
    pa.field("crop_left", pa.int32(), nullable=False),
    pa.field("lead_frames", pa.int32(), nullable=False),
    pa.field("num_real_frames", pa.int32(), nullable=False),
    pa.field("context_start_ns", pa.int64()),
    pa.field("shot_index", pa.int32()),
]

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
    *_SINCE_2,
    pa.field("codes", pa.large_binary(), nullable=False),
    pa.field("metadata", pa.string()),
]
"""The columns of the newest version; ``token_columns`` gives those of each."""

_META_KEY = b"bitmill"


def token_columns(version: int) -> "list[pa.Field[Any]]":
    """Return the columns of a version of the token shard, in order."""
    return [field for field in TOKEN_COLUMNS if version > 1 or field not in _SINCE_2]


class ShardMetadata(StrictModel):
    """A token shard's metadata, stored as JSON under the key ``bitmill`` of its schema metadata.

    Version 1 stores ``bits_per_token`` and ``patch_size_px`` where version 2 has the fields from ``layout``
    to ``pixel_rule``.
    """

    format: str = "token-shard"
    format_version: int = TOKEN_SHARD_FORMAT_VERSION
    layout: Literal["grid", "pyramid"] = "grid"
    patch_px: SizePx
    """Pixels of one token, height and width."""
    frames_per_token: int = 1
    code: Code
    schedules: dict[str, tuple[Grid, ...]] | None = None
    """Of pyramids: by ``geometry.grid_name``, the grids of a row's tokens, one after the other."""
    pixel_rule: int | None = None
    """None in version 1, which does not store it."""
    tokenizer_fingerprint: str
    job_fingerprint: str
    shard_id: str

    @classmethod
    def version_1(
        cls,
        *,
        bits_per_token: int,
        patch_size_px: int,
        tokenizer_fingerprint: str,
        job_fingerprint: str,
        shard_id: str,
    ) -> "ShardMetadata":
        """Return the metadata of a shard of version 1, whose tokens are BSQ-ViT's."""
        return cls(
            format_version=1,
            patch_px=(patch_size_px, patch_size_px),
            code=Code.of_bits(bits_per_token),
            tokenizer_fingerprint=tokenizer_fingerprint,
            job_fingerprint=job_fingerprint,
            shard_id=shard_id,
        )

    @property
    def bits_per_token(self) -> int:
        """L: bits per stored token."""
        return self.code.bits_per_token

    def document(self) -> dict[str, Any]:
        """Return the JSON object that the shard's version stores."""
        document = self.model_dump(mode="json", exclude_none=True)
        if self.format_version > 1:
            return document
        names = ("format", "format_version", "tokenizer_fingerprint", "job_fingerprint", "shard_id")
        kept = {name: document[name] for name in names}
        return kept | {"bits_per_token": self.code.bits_per_token, "patch_size_px": self.patch_px[0]}

    @classmethod
    def parse(cls, data: bytes) -> "ShardMetadata":
        """Parse the JSON object of any version. Raises pydantic.ValidationError."""
        if _VersionOnly.model_validate_json(data).format_version > 1:
            return cls.model_validate_json(data)
        stored = _Version1.model_validate_json(data).model_dump()
        format_name = stored.pop("format")
        return cls.version_1(**stored).model_copy(update={"format": format_name})


class _VersionOnly(BaseModel):
    format_version: int = 1


class _Version1(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: str
    format_version: Annotated[Literal[1], Field(exclude=True)] = 1
    bits_per_token: Annotated[int, Field(ge=1, le=64)]
    patch_size_px: Annotated[int, Field(gt=0)]
    tokenizer_fingerprint: str
    job_fingerprint: str
    shard_id: str


def token_shard_schema(metadata: ShardMetadata) -> pa.Schema:
    """Return the Arrow schema of a token shard of the metadata's version, with the metadata."""
    stored = canonical_json(metadata.document()).encode()
    return pa.schema(token_columns(metadata.format_version), metadata={_META_KEY: stored})


def read_shard_metadata(schema: pa.Schema, *, origin: str) -> ShardMetadata:
    """Read an opened shard's metadata. Raises FormatError naming ``origin`` if it is not a token shard."""
    raw = (schema.metadata or {}).get(_META_KEY)
    if raw is None:
        raise FormatError(f"{origin} is a Parquet file but no bitmill token shard (no 'bitmill' metadata).")
    with suppress(ValidationError):
        version = _VersionOnly.model_validate_json(raw).format_version
        refuse_newer(version, TOKEN_SHARD_FORMAT_VERSION, what=f"{origin} has token shard format")
    try:
        metadata = ShardMetadata.parse(raw)
    except ValidationError as error:
        raise FormatError(f"{origin} has damaged shard metadata: {describe_validation(error)}") from error
    if metadata.format != "token-shard":
        raise FormatError(f"{origin} is a bitmill {metadata.format}, not a token shard.")
    check_columns(schema, pa.schema(token_columns(metadata.format_version)), origin=origin)
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
