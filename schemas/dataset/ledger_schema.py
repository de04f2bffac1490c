"""The ledger: one row per item with its outcome, written before the token shard that it belongs to."""

from typing import Any

import pyarrow as pa

LEDGER_FORMAT_VERSION = 5
"""2: tars, with rows by key and the reasons bad_sidecar and duplicate_key. 3: the reason removed. 4: the
reasons encrypted and decoder_failed; the columns are those of 1. 5: num_dropped_frames, with token shards of
version 2; a dataset with token shards of version 1 keeps ledgers of version 4."""

_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("shard_id", pa.string(), nullable=False),
    # Row number of the source in the plan.
    pa.field("source_index", pa.int64(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    # Member of a tar; null for a plain object, and for a row about a tar as a whole.
    pa.field("key", pa.string()),
    pa.field("start_ns", pa.int64()),
    pa.field("end_ns", pa.int64()),
    # Of the object, or of the member.
    pa.field("size_bytes", pa.int64(), nullable=False),
    # bitmill.schemas.outcomes.Outcome, Reason; detail is a sentence for people.
    pa.field("outcome", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
    # What became tokens.
    pa.field("num_clips", pa.int64(), nullable=False),
    pa.field("num_frames", pa.int64(), nullable=False),
    pa.field("num_tokens", pa.int64(), nullable=False),
    pa.field("code_bytes", pa.int64(), nullable=False),
    pa.field("tokenized_ns", pa.int64(), nullable=False),
    # What the media is.
    pa.field("media", pa.string()),
    pa.field("container", pa.string()),
    pa.field("codec", pa.string()),
    pa.field("decoder", pa.string()),
    pa.field("source_height", pa.int32()),
    pa.field("source_width", pa.int32()),
    pa.field("source_fps", pa.float64()),
    pa.field("duration_ns", pa.int64()),
    pa.field("num_source_frames", pa.int64(), nullable=False),
    # Sampled frames that are in no clip, by min_frames or by tail: drop.
    pa.field("num_dropped_frames", pa.int64(), nullable=False),
]


def _schema(columns: "list[pa.Field[Any]]", version: int) -> pa.Schema:
    return pa.schema(columns, metadata={"bitmill.format": "ledger", "bitmill.format_version": str(version)})


LEDGER_SCHEMA = _schema(_COLUMNS, LEDGER_FORMAT_VERSION)
LEDGER_SCHEMA_4 = _schema(_COLUMNS[:-1], 4)
