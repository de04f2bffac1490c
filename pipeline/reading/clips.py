"""Clips of one or more datasets read as row groups or one by one: the door from the index to codes."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.reading.footers import open_shard
from pipeline.reading.index import ReadingIndex, RowGroup, Shape
from pipeline.reading.pages import LENGTH_BYTES, MAX_HEADER_BYTES, find_clips, page_at
from pipeline.reading.shard_files import ShardFiles
from schemas.dataset import shard_file
from schemas.errors import FormatError
from schemas.packing import packed_size
from schemas.unpacking import SPARE_BYTES, bad_padding

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

Allocate = Callable[[int, Any], npt.NDArray[Any]]

_LEAST_HEADER_BYTES = 20
"""No header of a page with a checksum is shorter, and none without statistics twice as long."""
_KEPT_PAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """One dataset: its files, its index, and which rows of each row group are wanted (null: all)."""

    files: ShardFiles
    index: ReadingIndex
    selected: Sequence[Int64s | None]


class ClipSource:
    """The wanted clips of some datasets, one after the other; row groups are numbered through.

    ``verify`` checks the checksum of every page that is read whole. Raises FormatError for damage, naming the
    shard; or, with ``skip_damaged``, leaves the row group's clips out and counts them.
    """

    def __init__(
        self, parts: Sequence[Part], bits_per_token: int, *, verify: bool, skip_damaged: bool
    ) -> None:
        self.parts = tuple(parts)
        self.bits_per_token = bits_per_token
        self.verify = verify
        self.skip_damaged = skip_damaged
        self._known_pages: dict[RowGroup, tuple[Int64s, Int64s]] = {}
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
        """int64 [num_groups]: wanted clips of each row group."""
        self.codes_bytes = np.concatenate([part.index.codes_bytes for part in parts]).astype(np.int64)

    def locate(self, group: int) -> tuple[Part, int]:
        """The dataset of a row group, and its number in that dataset's index."""
        part = int(np.searchsorted(self._firsts, group, side="right")) - 1
        return self.parts[part], group - int(self._firsts[part])

    def shapes_of(self, group: int) -> Int64s:
        """Frames, height and width of a row group's wanted clips, int64 [n, 3]."""
        part, number = self.locate(group)
        shapes, selected = part.index.shapes_of(number), part.selected[number]
        return shapes if selected is None else shapes[selected]

    def distinct_shapes(self) -> Int64s:
        """The shapes that occur among wanted clips, int64 [k, 3], sorted."""
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

    def read_groups(
        self, groups: Sequence[int], allocate: Allocate = np.empty
    ) -> tuple[Codes, Int64s, Int64s, Int64s]:
        """Codes of row groups, and of their wanted clips, in order: first bytes, sizes, and shapes [n, 3].

        A clip of a damaged row group that is skipped begins at -1. ``allocate`` gives the buffer; behind the
        codes stand ``SPARE_BYTES`` more.
        """
        bounds = np.cumsum([0, *(self.codes_bytes[group] for group in groups)])
        codes = allocate(int(bounds[-1]) + SPARE_BYTES, np.uint8)
        found = [
            self._read_group(group, codes[start:end])
            for group, start, end in zip(groups, bounds[:-1], bounds[1:], strict=True)
        ]
        if any(own is not None for own, *_ in found):
            # Decompressed codes have buffers of their own.
            buffers = [
                codes[a:b] if own is None else own
                for (own, *_), a, b in zip(found, bounds, bounds[1:], strict=False)
            ]
            bounds = np.cumsum([0, *map(len, buffers)])
            codes = np.concatenate([*buffers, np.zeros(SPARE_BYTES, np.uint8)])
        starts = [
            np.where(starts < 0, -1, starts + base)
            for (_, starts, *_), base in zip(found, bounds, strict=False)
        ]
        empty = np.empty(0, np.int64)
        return (
            codes,
            np.concatenate(starts) if found else empty,
            np.concatenate([sizes for _, _, sizes, _ in found]) if found else empty,
            np.concatenate([shapes for *_, shapes in found]) if found else empty.reshape(0, 3),
        )

    def _read_group(self, number: int, buffer: Codes) -> tuple[Codes | None, Int64s, Int64s, Int64s]:
        part, own_number = self.locate(number)
        group = part.index.group(own_number)
        shapes, selected = part.index.shapes_of(own_number), part.selected[own_number]
        sizes = self._sizes(shapes)
        codes: Codes | None = None
        try:
            with _damage_of(part, group):
                part.files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset)
                found, starts = find_clips(buffer, sizes, compressed=group.compressed, verify=self.verify)
                self._check_padding(found, starts, sizes, shapes)
                codes = found if group.compressed else None
        except FormatError:
            if not self.skip_damaged:
                raise
            starts = np.full(len(sizes), -1)
        if selected is not None:
            starts, sizes, shapes = starts[selected], sizes[selected], shapes[selected]
        return codes, starts, sizes, shapes

    def read_clip(self, number: int, row: int) -> tuple[Codes, Shape]:
        """Codes and shape of one clip, by its row group and row there: only its own bytes, where they lie
        plain.

        With ``verify`` its whole row group is read, as checksums are those of pages.
        """
        part, own_number = self.locate(number)
        group = part.index.group(own_number)
        shape, before = part.index.place_in(own_number, row, self.bits_per_token)
        size = packed_size(shape.num_tokens, self.bits_per_token)
        with _damage_of(part, group):
            if self.verify or group.compressed:
                buffer = np.empty(group.codes_bytes, np.uint8)
                part.files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset)
                sizes = self._sizes(part.index.shapes_of(own_number))
                codes, starts = find_clips(buffer, sizes, compressed=group.compressed, verify=self.verify)
                codes = codes[starts[row] : starts[row] + size]
            else:
                before += self._header_bytes(part, own_number, group, row) + LENGTH_BYTES * row
                codes = self._read_alone(part, group, before, size)
            self._check_padding(codes, np.zeros(1, np.int64), np.array([size]), np.array([shape]))
        return codes, shape

    def _read_alone(self, part: Part, group: RowGroup, before: int, size: int) -> Codes:
        """A clip's own bytes, ``before`` of the column chunk's before it."""
        offset = group.codes_offset + before
        buffer = np.empty(LENGTH_BYTES + size, np.uint8)
        part.files.read_into(buffer, group.shard_id, group.shard_bytes, offset)
        if int.from_bytes(buffer[:LENGTH_BYTES].tobytes(), "little") != size:
            raise ValueError("the length before a clip's codes is not the one that its shape gives")
        return buffer[LENGTH_BYTES:]

    def _header_bytes(self, part: Part, number: int, group: RowGroup, row: int) -> int:
        """Bytes of page headers up to a row: what the chunk has beyond its values, where it has one page."""
        runs = part.index.runs_of(number)
        tokens = runs[:, 1:].astype(np.int64).prod(axis=1)
        sizes = (tokens * self.bits_per_token + 7) // 8 + LENGTH_BYTES
        beyond = group.codes_bytes - int((sizes * runs[:, 0]).sum())
        if beyond < 2 * _LEAST_HEADER_BYTES:
            return beyond
        ends, headers = self._pages(part, group)
        return int(headers[np.searchsorted(ends, row, side="right")])

    def _pages(self, part: Part, group: RowGroup) -> tuple[Int64s, Int64s]:
        """Rows up to each page's end, and bytes of headers up to it: found once, header by header."""
        known = self._known_pages.get(group)
        if known is None:
            known = self._walk_pages(part, group)
            if len(self._known_pages) >= _KEPT_PAGES:
                self._known_pages = {}
            self._known_pages[group] = known
        return known

    def _walk_pages(self, part: Part, group: RowGroup) -> tuple[Int64s, Int64s]:
        rows: list[int] = []
        headers: list[int] = []
        offset = 0
        while offset < group.codes_bytes:
            buffer = np.empty(min(MAX_HEADER_BYTES, group.codes_bytes - offset), np.uint8)
            part.files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset + offset)
            page = page_at(buffer.data, 0)
            rows.append(page.num_rows)
            headers.append(page.body)
            offset += page.body + page.stored_bytes
        if sum(rows) != group.num_rows:
            raise ValueError(f"the codes column has {sum(rows)} of {group.num_rows} rows")
        return np.cumsum(rows), np.cumsum(headers)

    def read_columns(self, groups: Sequence[int], names: Sequence[str]) -> pa.Table:
        """Other columns of row groups' wanted clips, in order."""
        tables: list[pa.Table] = []
        for number in groups:
            part, own_number = self.locate(number)
            group, selected = part.index.group(own_number), part.selected[own_number]
            with open_shard(part.files.folder, group.shard_id) as file:
                table = file.read_row_group(group.number, columns=list(names))
            tables.append(table if selected is None else table.take(pa.array(selected, pa.int64())))
        return pa.concat_tables(tables).select(list(names))

    def _sizes(self, shapes_n3: Int64s) -> Int64s:
        return (shapes_n3.prod(axis=1) * self.bits_per_token + 7) // 8

    def _check_padding(self, codes: Codes, starts: Int64s, sizes: Int64s, shapes_n3: Any) -> None:
        num_tokens = shapes_n3.prod(axis=1)
        if len(bad_padding(codes, starts, sizes, num_tokens, self.bits_per_token)):
            raise ValueError("the padding after a clip's last token is not zero")


@contextmanager
def _damage_of(part: Part, group: RowGroup) -> Generator[None]:
    """Turn what a ValueError says of bytes into a FormatError that names their shard."""
    try:
        yield
    except ValueError as error:
        uri = f"{part.files.folder.uri}/{shard_file(group.shard_id)}"
        raise FormatError(
            f"The token shard {uri} is damaged in row group {group.number}: {error}."
        ) from error
