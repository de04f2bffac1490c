"""The format ``huggingface``: Parquet files of integers and a README.md, for ``datasets.load_dataset``."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.exporting.formats.base import Companion, Rows, token_counts
from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip, TokenLayout, Tokens
from bitmill.pipeline.exporting.formats.readme import readme_text
from bitmill.schemas.dataset.token_shard import token_columns
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.export_inventory import ExportContents, ExportOutline

_ROW_GROUP_BYTES = 16 << 20
"""Bytes of tokens as integers."""

_TOKENS = "tokens"


class HuggingfaceFormat:
    """Rows of the token shard with ``tokens``, as nested lists, instead of ``codes``."""

    def __init__(self, geometry: Geometry, version: int) -> None:
        self.tokens = TokenLayout.of(geometry, version)
        self.companions: Sequence[Companion] = (Companion(name="README.md", write=self._write_readme),)
        self._schema = hub_schema(self.tokens)

    def check(self, contents: ExportContents) -> None:
        """Parquet files support any clips."""

    def clips_within(self, max_bytes: int) -> int:
        """All of ``max_bytes``."""
        return max_bytes

    def clip_sizes(self, rows: pa.Table) -> Iterable[int]:
        """The tokens before compression, which leaves about L bits of each."""
        return [tokens * self.tokens.token_bytes for tokens in token_counts(rows, self.tokens.geometry)]

    def file_name(self, number: int, num_files: int) -> str:
        """data/train-00000-of-00012.parquet and so on, as the hub names them."""
        return f"data/train-{number:05d}-of-{num_files:05d}.parquet"

    def write_clips(self, path: Path, clips: Iterator[ExportedClip]) -> None:
        """Write one Parquet file."""
        leaves = [
            "frame_pts_ns.list.element" if field.name == "frame_pts_ns" else field.name
            for field in self._schema
            if field.name != _TOKENS
        ]
        options: dict[str, Any] = {
            "version": "2.6",
            "compression": "zstd",
            "use_dictionary": leaves,
            # The bits above the L-th are zero: as separate byte streams they compress to almost nothing.
            "column_encoding": {_TOKENS + ".list.element" * _depth(self.tokens): "BYTE_STREAM_SPLIT"},
            "write_statistics": [leaf for leaf in leaves if leaf != "metadata"],
            "write_page_checksum": True,
        }
        with pq.ParquetWriter(path, self._schema, **options) as writer:
            for group in _groups(clips):
                writer.write_table(self._table(group), row_group_size=len(group))

    def _table(self, clips: list[ExportedClip]) -> pa.Table:
        arrays = [
            nested_tokens([clip.tokens for clip in clips], field.type)
            if field.name == _TOKENS
            else pa.array([clip.columns[field.name] for clip in clips], type=field.type)
            for field in self._schema
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _write_readme(self, path: Path, outline: ExportOutline, rows: Rows) -> None:  # noqa: ARG002
        path.write_text(readme_text(outline, self._schema, self.tokens), encoding="utf-8")


def hub_schema(layout: TokenLayout) -> pa.Schema:
    """The columns of a file: those of the token shard, nullable as ``datasets`` requires."""
    tokens = pa.from_numpy_dtype(layout.dtype)
    for _ in range(_depth(layout)):
        tokens = pa.list_(tokens)
    return pa.schema(
        [
            pa.field(_TOKENS, tokens)
            if field.name == "codes"
            else pa.field(field.name, _nullable(field.type))
            for field in token_columns(layout.version)
        ]
    )


def _depth(layout: TokenLayout) -> int:
    """Dimensions of a clip's array."""
    return (3 if layout.geometry.layout == "grid" else 1) + (layout.values_per_token > 1)


def nested_tokens(clips: Sequence[Tokens], kind: pa.DataType) -> "pa.Array[Any]":
    """Clips of any shapes, with equally many dimensions, as one array of nested lists."""
    shapes_ND = np.array([clip.shape for clip in clips], dtype=np.int64)
    array: Any = pa.array(np.concatenate([clip.reshape(-1) for clip in clips]))
    for axis in reversed(range(shapes_ND.shape[1])):
        lengths = np.repeat(shapes_ND[:, axis], shapes_ND[:, :axis].prod(axis=1))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), array)
    return array.cast(kind)


def _groups(clips: Iterator[ExportedClip]) -> Iterator[list[ExportedClip]]:
    group: list[ExportedClip] = []
    size = 0
    for clip in clips:
        group.append(clip)
        size += clip.tokens.nbytes
        if size >= _ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _nullable(kind: pa.DataType) -> pa.DataType:
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind
