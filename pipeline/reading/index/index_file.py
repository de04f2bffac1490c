"""Serializes the index to index.parquet and parses it, and builds it from the rows of single shards."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.schemas.dataset.reading_index import INDEX_COLUMNS, INDEX_FILE, INDEX_FORMAT_VERSION
from bitmill.schemas.dataset.token_shard import check_columns
from bitmill.schemas.errors import FormatError

_RUNS = ("run_rows", "run_frames", "run_height", "run_width")


def rows_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Build the index table from its rows, one per row group."""
    return pa.Table.from_pylist(list(rows), schema=pa.schema(INDEX_COLUMNS))


def index_bytes(table: pa.Table, *, plan: str, tokenizer_fingerprint: str) -> bytes:
    """Serialize index.parquet. ``plan`` names the plan whose shards it covers; equal rows, equal bytes."""
    metadata = {
        "bitmill.format": "reading-index",
        "bitmill.format_version": str(INDEX_FORMAT_VERSION),
        "bitmill.plan": plan,
        "bitmill.tokenizer_fingerprint": tokenizer_fingerprint,
    }
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(metadata), sink, compression="zstd", write_page_checksum=True
    )
    return sink.getvalue()


def parse_index(data: bytes) -> tuple[pa.Table, str, str]:
    """Parse the file into table, plan and tokenizer. Raises FormatError on damage or a newer version."""
    try:
        table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{INDEX_FILE} is damaged: {' '.join(str(error).split())}") from error
    metadata = table.schema.metadata or {}
    if metadata.get(b"bitmill.format_version") != str(INDEX_FORMAT_VERSION).encode():
        raise FormatError(f"{INDEX_FILE} has a version that this bitmill cannot read.")
    check_columns(table.schema, pa.schema(INDEX_COLUMNS), origin=INDEX_FILE)
    return table, _text(metadata, b"bitmill.plan"), _text(metadata, b"bitmill.tokenizer_fingerprint")


def index_of(table: pa.Table) -> ReadingIndex:
    """Build the index from a table of its rows, in that order."""
    table = table.combine_chunks()
    shards: list[Any] = table.column("shard_id").to_pylist()
    places = {shard_id: number for number, shard_id in enumerate(dict.fromkeys(shards))}
    shard_of = np.fromiter((places[shard_id] for shard_id in shards), np.int64, len(shards))
    shard_bytes = np.zeros(len(places), np.int64)
    shard_bytes[shard_of] = _numbers(table, "shard_bytes")
    runs, starts = _runs(table)
    return ReadingIndex(
        shard_ids=tuple(places),
        shard_bytes=shard_bytes,
        shard_of=shard_of,
        numbers=_numbers(table, "row_group").astype(np.int32),
        num_rows=_numbers(table, "num_rows").astype(np.int64),
        codes_offset=_numbers(table, "codes_offset"),
        codes_bytes=_numbers(table, "codes_bytes"),
        compressed=np.asarray(table.column("compressed").to_pylist(), np.bool_),
        run_starts=starts,
        runs=runs,
    )


def _runs(table: pa.Table) -> tuple[Any, Any]:
    columns: list[Any] = []
    lengths: Any = np.empty(0, np.int64)
    for name in _RUNS:
        lists: Any = pa.concat_arrays(table.column(name).chunks) if table.num_rows else None
        values = np.empty(0, np.int32) if lists is None else lists.flatten().to_numpy(zero_copy_only=False)
        columns.append(values)
        if lists is not None:
            lengths = np.asarray(lists.value_lengths(), np.int64)
    return np.stack(columns, axis=1), np.concatenate(([0], np.cumsum(lengths)))


def _numbers(table: pa.Table, name: str) -> Any:
    return table.column(name).to_numpy()


def _text(metadata: dict[bytes, bytes], key: bytes) -> str:
    return metadata.get(key, b"").decode("utf-8", "replace")
