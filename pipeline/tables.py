"""Small Parquet files of ours (plan, ledger) to bytes and back, with their versions and columns checked."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import FormatError
from schemas.token_shard import check_columns


def table_bytes(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> bytes:
    """A table as a Parquet file; the same columns give the same bytes."""
    sink = io.BytesIO()
    table = pa.table(dict(columns), schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_table(data: bytes, schema: pa.Schema, *, what: str, version: int) -> list[dict[str, Any]]:
    """Rows of such a file. Raises FormatError, beginning with ``what``, on damage or a newer version."""
    try:
        table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{what} is damaged: {' '.join(str(error).split())}") from error
    stored = int((table.schema.metadata or {}).get(b"bitmill.format_version", b"0"))
    if stored > version:
        raise FormatError(f"{what} has format {stored}; this bitmill reads up to {version}. Upgrade bitmill.")
    check_columns(table.schema, schema, origin=what)
    return table.to_pylist()
