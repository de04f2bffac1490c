"""Reads and writes bitmill's small Parquet tables (plan, ledger), checking versions and columns."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.schemas.dataset.token_shard import check_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.versioned import refuse_newer

_BATCH_ROWS = 8192


def table_bytes(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> bytes:
    """Returns a table as the bytes of a Parquet file; equal columns give equal bytes."""
    return column_bytes(columns.__getitem__, schema)


def column_bytes(column: Callable[[str], Iterable[Any]], schema: pa.Schema) -> bytes:
    """Like ``table_bytes``, but gets one column's values at a time, to save memory."""
    sink = io.BytesIO()
    arrays = [pa.array(column(field.name), type=field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_table(
    data: bytes,
    schema: pa.Schema,
    *,
    what: str,
    version: int,
    older: Mapping[int, pa.Schema] = {},
) -> list[dict[str, Any]]:
    """Returns a table's rows. Raises FormatError, beginning with ``what``, on damage or a newer version.

    ``older`` has the schemas of files up to a version, if they lack columns.
    """
    return list(read_rows(data, schema, what=what, version=version, older=older))


def read_rows(
    data: bytes,
    schema: pa.Schema,
    *,
    what: str,
    version: int,
    older: Mapping[int, pa.Schema] = {},
) -> Iterator[dict[str, Any]]:
    """Like ``read_table``, with one batch of rows in memory at a time."""
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True, pre_buffer=False) as file:
            _check_schema(file.schema_arrow, {**older, version: schema}, what, version)
            for batch in file.iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{what} is damaged: {' '.join(str(error).split())}") from error


def _check_schema(found: pa.Schema, schemas: Mapping[int, pa.Schema], what: str, version: int) -> None:
    stored = int((found.metadata or {}).get(b"bitmill.format_version", b"0"))
    refuse_newer(stored, version, what=f"{what} has format")
    check_columns(found, schemas[min(last for last in schemas if stored <= last)], origin=what)
