"""Small Parquet files of ours (plan, ledger) to bytes and back, with their versions and columns checked."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.schemas.dataset.token_shard import check_columns
from bitmill.schemas.errors import FormatError

_BATCH_ROWS = 8192


def table_bytes(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> bytes:
    """A table as a Parquet file; the same columns give the same bytes."""
    return column_bytes(columns.__getitem__, schema)


def column_bytes(column: Callable[[str], Iterable[Any]], schema: pa.Schema) -> bytes:
    """As ``table_bytes``, asking for one column's values after the other, which so need not all be there."""
    sink = io.BytesIO()
    arrays = [pa.array(column(field.name), type=field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_table(data: bytes, schema: pa.Schema, *, what: str, version: int) -> list[dict[str, Any]]:
    """Rows of such a file. Raises FormatError, beginning with ``what``, on damage or a newer version."""
    return list(read_rows(data, schema, what=what, version=version))


def read_rows(data: bytes, schema: pa.Schema, *, what: str, version: int) -> Iterator[dict[str, Any]]:
    """As ``read_table``, a batch of rows in memory at a time."""
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True, pre_buffer=False) as file:
            _check_schema(file.schema_arrow, schema, what, version)
            for batch in file.iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{what} is damaged: {' '.join(str(error).split())}") from error


def _check_schema(found: pa.Schema, schema: pa.Schema, what: str, version: int) -> None:
    stored = int((found.metadata or {}).get(b"bitmill.format_version", b"0"))
    if stored > version:
        raise FormatError(f"{what} has format {stored}; this bitmill reads up to {version}. Upgrade bitmill.")
    check_columns(found, schema, origin=what)
