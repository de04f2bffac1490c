"""index.parquet: the byte range of each row group's codes, and its clips' shapes (docs/format.md).

One row per row group, in the dataset's order. It is derived from the shards alone, is not part of the
dataset's bytes, and is rebuilt if it is missing, old or damaged. Shapes are run-length encoded, in row order.
"""

from typing import Any

import pyarrow as pa

INDEX_FILE = "index.parquet"
INDEX_FORMAT_VERSION = 1


def _runs(name: str) -> "pa.Field[Any]":
    return pa.field(name, pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False)


INDEX_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("shard_id", pa.string(), nullable=False),
    pa.field("shard_bytes", pa.int64(), nullable=False),
    pa.field("row_group", pa.int32(), nullable=False),
    pa.field("num_rows", pa.int32(), nullable=False),
    pa.field("codes_offset", pa.int64(), nullable=False),
    pa.field("codes_bytes", pa.int64(), nullable=False),
    pa.field("compressed", pa.bool_(), nullable=False),
    _runs("run_rows"),
    _runs("run_frames"),
    _runs("run_height"),
    _runs("run_width"),
]

CLIP_INDEX_FILE = "clip_index.parquet"

CLIP_INDEX_SCHEMA = pa.schema(
    [
        # The first 16 hex digits of the clip id as a number; rows are sorted by it.
        pa.field("prefix", pa.uint64(), nullable=False),
        # The row group's row number in index.parquet, and the clip's row in the group.
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
"""clip_index.parquet: maps clip ids to positions. Built when a clip is first looked up."""
