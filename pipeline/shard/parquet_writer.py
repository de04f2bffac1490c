"""Writes a token shard to a local file: rows in order, row groups by a fixed rule, checked at the end."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.schemas.dataset.token_shard import ShardMetadata, token_shard_schema
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.requests.job import StorageSpec

_PLAIN = "codes"


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One row of a token shard; ``bitmill.schemas.dataset.token_shard`` defines the columns."""

    clip_id: str
    source: str
    key: str | None
    start_ns: int
    end_ns: int
    fps: float | None
    frame_pts_ns: list[int]
    num_frames: int
    height: int
    width: int
    source_height: int
    source_width: int
    codes: bytes
    metadata: str | None
    scaled_height: int = 0
    scaled_width: int = 0
    crop_top: int = 0
    crop_left: int = 0
    lead_frames: int = 0
    num_real_frames: int = 0
    """Version 1 does not store the fields from ``scaled_height`` on."""
    context_start_ns: int | None = None
    shot_index: int | None = None


class TokenShardWriter(AbstractContextManager["TokenShardWriter"]):
    """Context manager around a ParquetWriter; ``add`` rows, then exit the block to finish the file.

    Codes are stored plain, without a dictionary; the other columns are dictionary coded and compressed.
    Pages carry checksums. The same rows give the same bytes.
    """

    def __init__(self, path: Path, metadata: ShardMetadata, storage: StorageSpec) -> None:
        self._path = path
        self._schema = token_shard_schema(metadata)
        self._row_group_bytes = storage.row_group_bytes
        others = [name for name in self._schema.names if name != _PLAIN]
        leaf_names = ["frame_pts_ns.list.element" if name == "frame_pts_ns" else name for name in others]
        # pyarrow's type stubs accept fewer forms of these options than pyarrow.
        options: dict[str, Any] = {
            "version": "2.6",
            "use_dictionary": leaf_names,
            "compression": dict.fromkeys(leaf_names, "zstd") | {_PLAIN: storage.codes_compression},
            "column_encoding": {_PLAIN: "PLAIN"},
            "write_page_checksum": True,
            "write_page_index": True,
            # Page statistics of random bytes would cost space and be useless.
            "write_statistics": [name for name in leaf_names if name != "metadata"],
        }
        self._writer = pq.ParquetWriter(path, self._schema, **options)
        self._rows: list[TokenRow] = []
        self._pending_bytes = 0
        self.num_rows = 0

    def add(self, row: TokenRow) -> None:
        """Append one row; a row group is written whenever its codes reach ``row_group_bytes``."""
        self._rows.append(row)
        self._pending_bytes += len(row.codes)
        self.num_rows += 1
        if self._pending_bytes >= self._row_group_bytes:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._check()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns: dict[str, list[Any]] = {
            name: [getattr(row, name) for row in self._rows] for name in self._schema.names
        }
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=len(self._rows))
        self._rows, self._pending_bytes = [], 0

    def _check(self) -> None:
        """Check the footer's row count against the rows written, before the shard is published."""
        stored = pq.read_metadata(self._path).num_rows
        if stored != self.num_rows:
            raise InfrastructureError(
                f"A shard file has {stored} of {self.num_rows} rows; run the same command again."
            )
