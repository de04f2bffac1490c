"""index.parquet: where each row group's codes lie and what shapes its clips have (docs/format.md).

One row a row group, in the dataset's order. It follows from the shards alone, is no part of the dataset's
bytes, and is made anew where it is missing, old or damaged. Shapes stand as runs of equal ones, in row order.
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
        # The first 16 hex digits of the clip's id, as a number; rows are sorted by it.
        pa.field("prefix", pa.uint64(), nullable=False),
        # The row group's place in index.parquet, and the clip's row in it.
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
"""clip_index.parquet: from a clip's id to its place. Made when a clip is first looked up."""
