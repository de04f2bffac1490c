"""Reads clips of one or more datasets by row group: the step from the index to codes."""

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bitmill.pipeline.reading.index.footers import damage_named
from bitmill.pipeline.reading.index.index import ReadingIndex, RowGroup, num_tokens_of, scales_of
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.pipeline.reading.shards.parquet_pages import find_clips
from bitmill.pipeline.reading.shards.ranged_file import RangedFile
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.schemas.arrays import Codes, Int64s
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, check_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Geometry

Allocate = Callable[[int, Any], npt.NDArray[Any]]

_NO_COLUMNS = pa.table({})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One dataset: its files, its index, and the selected rows of each row group (None: all)."""

    files: ShardFiles
    index: ReadingIndex
    selected: Sequence[Int64s | None]


class GroupCodes(NamedTuple):
    """Codes of some clips in one buffer, followed by ``SPARE_BYTES`` more."""

    codes: Codes
    starts: Int64s
    """int64 [n]: each clip's first byte; -1 for clips of a row group that is damaged and skipped."""
    shapes_n3: Int64s
    """int64 [n, 3]: token rows, height and width."""


class StoredClip(NamedTuple):
    """One clip, as it is stored."""

    codes: Codes
    """The codes of its row group, followed by ``SPARE_BYTES`` more."""
    start: int
    """Its first byte."""
    grid: Sequence[int]
    """Token rows, height and width."""
    columns: pa.Table
    """The chosen other columns, of the row group's clips."""
    row: int
    """The clip's row in ``columns``."""


class ColumnJoin(Protocol):
    """Columns from elsewhere, by clip id (``pipeline/reading/joining``)."""

    schema: pa.Schema

    def complete(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """Add these columns to a table of clips that has ``clip_id``."""
        ...


class GroupColumns(NamedTuple):
    """Other columns of some clips."""

    table: pa.Table
    lost: npt.NDArray[np.bool_]
    """bool [n]: clips of a row group that is damaged and skipped; their values are null."""


class ClipSource:
    """The selected clips of some datasets in sequence; row groups are numbered across datasets.

    ``verify`` checks the checksum of every page that is read whole. Raises FormatError for damage, naming the
    shard; or, with ``skip_damaged``, marks the row group's clips as lost.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        geometry: Geometry,
        *,
        verify: bool,
        skip_damaged: bool,
        join: ColumnJoin | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.geometry = geometry
        self.verify = verify
        self.skip_damaged = skip_damaged
        self._join = join
        self._firsts = np.cumsum([0, *(part.index.num_groups for part in parts)])
        self.num_groups = int(self._firsts[-1])
        self.num_clips = np.array(
            [
                part.index.num_rows[number] if selected is None else len(selected)
                for part in parts
                for number, selected in enumerate(part.selected)
            ],
            np.int64,
        )
        """int64 [num_groups]: number of selected clips in each row group."""
        self.first_clips: list[int] = np.concatenate(([0], np.cumsum(self.num_clips))).tolist()
        """The number of each row group's first selected clip, and at the end that of all."""
        self.codes_bytes = np.concatenate([part.index.codes_bytes for part in parts]).astype(np.int64)

    def locate(self, group: int) -> tuple[Part, int]:
        """The dataset of a row group, and the row group's number in that dataset's index."""
        part = int(np.searchsorted(self._firsts, group, side="right")) - 1
        return self.parts[part], group - int(self._firsts[part])

    def shapes_of(self, group: int) -> Int64s:
        """Token rows, height and width of a row group's selected clips, int64 [n, 3]."""
        part, number = self.locate(group)
        shapes, selected = part.index.shapes_of(number), part.selected[number]
        return shapes if selected is None else shapes[selected]

    def shape_runs(self) -> tuple[Int64s, Int64s, Int64s]:
        """Runs of clips of one shape: row group [R], number of selected clips [R], and shape [R, 3]."""
        found: list[Int64s] = []
        for part, first in zip(self.parts, self._firsts, strict=False):
            if all(selected is None for selected in part.selected):
                groups = np.repeat(np.arange(part.index.num_groups), np.diff(part.index.run_starts))
                found.append(np.column_stack((groups + first, part.index.runs)).astype(np.int64))
                continue
            for group in range(first, first + part.index.num_groups):
                shapes, counts = np.unique(self.shapes_of(group), axis=0, return_counts=True)
                found.append(np.column_stack((np.full(len(counts), group), counts, shapes)))
        runs = np.concatenate(found)
        return runs[:, 0], runs[:, 1], runs[:, 2:]

    def distinct_shapes(self) -> Int64s:
        """The distinct shapes of the selected clips, int64 [k, 3], sorted."""
        found: set[tuple[int, ...]] = set()
        for part in self.parts:
            if all(selected is None for selected in part.selected):
                found.update(map(tuple, np.unique(part.index.runs[:, 1:], axis=0).tolist()))
                continue
            for number, selected in enumerate(part.selected):
                shapes = part.index.shapes_of(number)
                wanted = shapes if selected is None else shapes[selected]
                found.update(map(tuple, np.unique(wanted, axis=0).tolist()))
        return np.array(sorted(found), np.int64).reshape(-1, 3)

    def places_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The axes of a clip's tokens: its grid (token rows, height, width), or the N tokens of a pyramid."""
        if self.geometry.schedules is None:
            return tuple(shape)
        return (sum(map(prod, scales_of(shape, self.geometry))),)

    def read_groups(self, groups: Sequence[int], allocate: Allocate = np.empty) -> GroupCodes:
        """Codes of row groups' selected clips, in order. ``allocate`` creates the buffer.

        Raises FormatError, naming the shard, for damage that is not skipped.
        """
        bounds = np.cumsum([0, *(self.codes_bytes[group] for group in groups)]).tolist()
        codes = allocate(bounds[-1] + SPARE_BYTES, np.uint8)
        found = [
            self._read_group(group, codes[start:end])
            for group, (start, end) in zip(groups, pairwise(bounds), strict=True)
        ]
        if any(self._is_compressed(group) for group in groups):
            # Decompressed codes are in separate buffers.
            bounds = np.cumsum([0, *(len(one.codes) for one in found)]).tolist()
            codes = np.concatenate([*(one.codes for one in found), np.zeros(SPARE_BYTES, np.uint8)])
        for one, base in zip(found, bounds, strict=False):
            one.starts[one.starts >= 0] += base
        if len(found) == 1:
            return found[0]._replace(codes=codes)
        return GroupCodes(
            codes=codes,
            starts=np.concatenate([one.starts for one in found]),
            shapes_n3=np.concatenate([one.shapes_n3 for one in found]),
        )

    def clips_between(self, first: int, end: int, columns: Sequence[str]) -> Iterator[StoredClip]:
        """Yield selected clips [first, end) in order, without lost ones; one row group in memory.

        Raises like ``read_groups`` and ``read_columns``.
        """
        for group in range(bisect_right(self.first_clips, first) - 1, self.num_groups):
            before, behind = self.first_clips[group], self.first_clips[group + 1]
            if before >= end:
                break
            if before == behind:
                # The filter excludes all its clips.
                continue
            codes, starts, shapes = self.read_groups([group])
            table, lost = self.read_columns([group], columns) if columns else (_NO_COLUMNS, starts < 0)
            grids = shapes.tolist()
            for row in range(max(0, first - before), min(end, behind) - before):
                if starts[row] >= 0 and not lost[row]:
                    yield StoredClip(codes, int(starts[row]), grids[row], table, row)

    def _is_compressed(self, number: int) -> bool:
        part, own_number = self.locate(number)
        return bool(part.index.compressed[own_number])

    def _read_group(self, number: int, buffer: Codes) -> GroupCodes:
        part, own_number = self.locate(number)
        group = part.index.group(own_number)
        shapes, selected = part.index.shapes_of(own_number), part.selected[own_number]
        try:
            codes, starts = read_chunk(
                part.files, group, buffer, shapes, geometry=self.geometry, verify=self.verify
            )
        except FormatError:
            if not self.skip_damaged:
                raise
            codes, starts = buffer, np.full(len(shapes), -1)
        if selected is not None:
            starts, shapes = starts[selected], shapes[selected]
        return GroupCodes(codes=codes, starts=starts, shapes_n3=shapes)

    def read_columns(self, groups: Sequence[int], names: Sequence[str]) -> GroupColumns:
        """Other columns of row groups' selected clips, in order. Raises like ``read_groups``.

        Also raises FormatError for damage of a joined file, whatever is skipped.
        """
        elsewhere = self._join.schema.names if self._join else []
        own = [name for name in names if name not in elsewhere]
        if self._join is None or len(own) == len(names):
            return self._read_own(groups, names)
        table, lost = self._read_own(groups, list(dict.fromkeys((*own, "clip_id"))))
        return GroupColumns(table=self._join.complete(table, names).select(list(names)), lost=lost)

    def _read_own(self, groups: Sequence[int], names: Sequence[str]) -> GroupColumns:
        tables: list[pa.Table] = []
        lost: list[npt.NDArray[np.bool_]] = []
        for number in groups:
            count = int(self.num_clips[number])
            damaged = False
            try:
                table = self._read_columns(number, names)
            except FormatError:
                if not self.skip_damaged:
                    raise
                damaged = True
                schema = _schema_of(names)
                table = pa.Table.from_arrays([pa.nulls(count, field.type) for field in schema], schema=schema)
            tables.append(table)
            lost.append(np.full(count, damaged))
        return GroupColumns(table=pa.concat_tables(tables), lost=np.concatenate(lost))

    def _read_columns(self, number: int, names: Sequence[str]) -> pa.Table:
        part, own_number = self.locate(number)
        group, selected = part.index.group(own_number), part.selected[own_number]
        uri = f"{part.files.folder.uri}/{shard_file(group.shard_id)}"
        with damage_named(uri), RangedFile(part.files, group.shard_id, group.shard_bytes) as handle:
            file = pq.ParquetFile(
                pa.PythonFile(handle, mode="r"), pre_buffer=False, page_checksum_verification=True
            )
            table = file.read_row_group(group.number, columns=list(names)).select(list(names))
        check_columns(table.schema, _schema_of(names), origin=uri)
        # A damaged page header may hide rows from Arrow, which then returns fewer.
        if table.num_rows != group.num_rows:
            raise FormatError(
                f"{uri} is damaged: row group {group.number} has {table.num_rows} rows instead of "
                f"{group.num_rows}; run `bitmill audit` on the dataset."
            )
        return table if selected is None else table.take(pa.array(selected, pa.int64()))


def _schema_of(names: Sequence[str]) -> pa.Schema:
    return pa.schema([pa.schema(TOKEN_COLUMNS).field(name) for name in names])


def read_chunk(
    files: ShardFiles,
    group: RowGroup,
    buffer: Codes,
    shapes_n3: Int64s,
    *,
    geometry: Geometry,
    verify: bool,
) -> tuple[Codes, Int64s]:
    """Read a row group's codes using ``buffer``; returns them and where each of its clips begins.

    Raises FormatError, naming the shard, if they are damaged.
    """
    num_tokens, bits = num_tokens_of(shapes_n3, geometry), geometry.code.bits_per_token
    with damage_of(files, group):
        files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset)
        return find_clips(buffer, num_tokens, bits, compressed=group.compressed, verify=verify)


@contextmanager
def damage_of(files: ShardFiles, group: RowGroup) -> Generator[None]:
    """Turn a ValueError about a row group's bytes into a FormatError that names the shard."""
    try:
        yield
    except ValueError as error:
        uri = f"{files.folder.uri}/{shard_file(group.shard_id)}"
        raise FormatError(
            f"The token shard {uri} is damaged in row group {group.number}: {error}."
        ) from error
