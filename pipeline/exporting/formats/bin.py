"""The format ``bin``: flat token files for memory mapping, an index, and the files that loaders expect."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.exporting.formats.base import Companion, Rows, token_counts
from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip, TokenLayout
from bitmill.schemas.dataset.token_shard import token_columns
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.export_inventory import BinFile, BinMetadata, ExportContents, ExportOutline


def index_schema(version: int) -> pa.Schema:
    """Return the columns of index.parquet for token shards of this version."""
    # Counted in tokens: the clip's first one from the start of the file, and how many it has.
    place = [pa.field("first_token", pa.int64(), nullable=False)]
    if version > 1:
        place.append(pa.field("num_tokens", pa.int64(), nullable=False))
    columns = [field for field in token_columns(version) if field.name != "codes"]
    return pa.schema([*columns, pa.field("file", pa.string(), nullable=False), *place])


MOST_CLIPS = 2**31 - 1
"""Clips are numbered in int32, as loaders read segment_ids.bin."""

_SMALLEST_BITS = 16
_MOST_CODES = 1 << 64
_ROW_GROUP_ROWS = 65536
_ROW_GROUP_BYTES = 64 << 20


class BinFormat:
    """Clips end to end, in order, without separators; no clip is split across files."""

    def __init__(self, geometry: Geometry, version: int) -> None:
        self.tokens = TokenLayout.of(geometry, version, smallest_bits=_SMALLEST_BITS)
        self.companions: Sequence[Companion] = (
            Companion(name="index.parquet", write=partial(_write_index, self.tokens)),
            Companion(name="segment_ids.bin", write=_write_segment_ids),
            Companion(name="metadata.json", write=self._write_metadata),
        )

    def check(self, contents: ExportContents) -> None:
        """Raise UsageError if there are more clips than int32 can number."""
        if contents.clips > MOST_CLIPS:
            raise UsageError(
                f"The format bin numbers clips in int32, so it supports at most {MOST_CLIPS:,} of them, not "
                f"{contents.clips:,}; export to webdataset or huggingface, or in parts."
            )

    def clips_within(self, max_bytes: int) -> int:
        """All of ``max_bytes``."""
        return max_bytes

    def clip_sizes(self, rows: pa.Table) -> Iterable[int]:
        """The bytes of the tokens only."""
        return [tokens * self.tokens.token_bytes for tokens in token_counts(rows, self.tokens.geometry)]

    def file_name(self, number: int, num_files: int) -> str:  # noqa: ARG002 - names don't tell how many
        """tokens-00000.bin and so on."""
        return f"tokens-{number:05d}.bin"

    def write_clips(self, path: Path, clips: Iterator[ExportedClip]) -> None:
        """Write one file of tokens."""
        with path.open("wb") as file:
            for clip in clips:
                file.write(clip.tokens.tobytes())

    def _write_metadata(self, path: Path, outline: ExportOutline, rows: Rows) -> None:  # noqa: ARG002
        path.write_bytes(_metadata(outline, self.tokens).to_json())


def _metadata(outline: ExportOutline, layout: TokenLayout) -> BinMetadata:
    contents, num_codes = outline.contents, layout.code.num_codes
    _, height, width = contents.shape_THW if layout.geometry.layout == "grid" else (None, None, None)
    return BinMetadata.model_validate(
        {
            "token_dtype": layout.dtype.name,
            "values_per_token": layout.values_per_token if layout.version > 1 else None,
            "s": height if height == width else None,
            "h": height,
            "w": width,
            "vocab_size": num_codes if num_codes <= _MOST_CODES else None,
            "hz": contents.fps,
            "num_images": contents.frames,
            "num_clips": contents.clips,
            "num_tokens": contents.tokens,
            "bits_per_token": layout.code.bits_per_token,
            "geometry": outline.dataset.geometry,
            "tokenizer_fingerprint": outline.dataset.tokenizer_fingerprint,
            "files": [
                BinFile(name=file.name, num_tokens=file.num_tokens, num_images=file.num_frames)
                for file in outline.files
            ],
        }
    )


def _write_segment_ids(path: Path, outline: ExportOutline, rows: Rows) -> None:  # noqa: ARG001
    """Write int32 per token row: the number of its clip."""
    first = 0
    with path.open("wb") as file:
        for table in rows():
            frames = table.column("num_frames").to_numpy()
            file.write(np.repeat(np.arange(first, first + len(frames), dtype="<i4"), frames).tobytes())
            first += len(frames)


def _write_index(layout: TokenLayout, path: Path, outline: ExportOutline, rows: Rows) -> None:
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
    schema = index_schema(layout.version)
    with pq.ParquetWriter(path, schema, **options) as writer:
        for table in _row_groups(_placed(outline, rows, layout.geometry, schema)):
            writer.write_table(table, row_group_size=table.num_rows)


def _placed(outline: ExportOutline, rows: Rows, geometry: Geometry, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield rows with the location of each clip's tokens."""
    first_clips = np.array([file.first_clip for file in outline.files])
    first_tokens = np.cumsum([0, *(file.num_tokens for file in outline.files)])
    names = np.array([file.name for file in outline.files], dtype=object)
    clips = tokens = 0
    for table in rows():
        counts = np.array(token_counts(table, geometry), dtype=np.int64)
        starts = tokens + np.cumsum(counts) - counts
        files = np.searchsorted(first_clips, np.arange(clips, clips + len(counts)), side="right") - 1
        place = {
            "file": pa.array(names[files], pa.string()),
            "first_token": pa.array(starts - first_tokens[files]),
            "num_tokens": pa.array(counts),
        }
        columns = [place[field.name] if field.name in place else table.column(field.name) for field in schema]
        yield pa.Table.from_arrays(columns, schema=schema)
        clips += len(counts)
        tokens += int(counts.sum())


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Regroup the rows into tables of a suitable row group size."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if (
            sum(one.num_rows for one in waiting) >= _ROW_GROUP_ROWS
            or sum(one.nbytes for one in waiting) >= _ROW_GROUP_BYTES
        ):
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
