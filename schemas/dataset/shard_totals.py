"""totals.parquet: sums of each committed shard's ledger. Not part of a dataset's bytes."""

import pyarrow as pa

TOTALS_FORMAT_VERSION = 1

TOTALS_FILE = "totals.parquet"

TOTALS_SCHEMA = pa.schema(
    [
        pa.field("shard_id", pa.string(), nullable=False),
        # Sums over all rows of the shard's ledger, named as in bitmill.schemas.dataset.card.Totals.
        pa.field("ok", pa.int64(), nullable=False),
        pa.field("partial", pa.int64(), nullable=False),
        pa.field("failed", pa.int64(), nullable=False),
        pa.field("clips", pa.int64(), nullable=False),
        pa.field("frames", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("code_bytes", pa.int64(), nullable=False),
        pa.field("tokenized_ns", pa.int64(), nullable=False),
        # JSON object: items by reason.
        pa.field("reasons", pa.string(), nullable=False),
    ],
    metadata={"bitmill.format": "totals", "bitmill.format_version": str(TOTALS_FORMAT_VERSION)},
)
