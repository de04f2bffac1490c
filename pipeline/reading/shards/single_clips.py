"""Reads one clip: locates its codes in the file by the index and reads one byte range."""

from bisect import bisect_right
from math import prod
from struct import unpack_from
from typing import Any, NamedTuple

import numpy as np

from bitmill.pipeline.reading.index.index import RowGroup
from bitmill.pipeline.reading.kernels.page_layout import LENGTH_BYTES
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.pipeline.reading.shards.parquet_pages import MAX_HEADER_BYTES, page_at
from bitmill.pipeline.reading.shards.row_groups import ClipSource, Part, damage_of, read_chunk
from bitmill.schemas.arrays import Codes
from bitmill.schemas.dataset.packing import packed_size

_LEAST_HEADER_BYTES = 20
"""A page header with a checksum is at least this long, and without statistics less than twice as long."""
_KEPT_GROUPS = 10_000


class _Run(NamedTuple):
    """Consecutive rows of one shape in a row group."""

    first: int
    end: int
    before: int
    """Bytes of the rows before the run, lengths included."""
    size: int
    """Bytes of a clip's codes."""
    grid: tuple[int, ...]
    """Token rows, height and width."""
    used: int
    """Bits of a clip's last byte that are its codes'; 0: all."""


class _Group(NamedTuple):
    """The layout of a row group."""

    part: Part
    group: RowGroup
    number: int
    """Its number in the dataset's index."""
    runs: list[_Run]
    run_ends: list[int]
    """Number of rows up to the end of each run."""
    page_ends: list[int]
    """Number of rows up to the end of each page."""
    headers: list[int]
    """Bytes of page headers up to each page's rows."""


class SingleClips:
    """Reads clips one by one. Safe for threads; pickles without its cached layouts.

    With ``verify``, reads a clip's whole row group, because checksums are per page. Raises FormatError,
    naming the shard, for damage.
    """

    def __init__(self, clips: ClipSource, *, verify: bool) -> None:
        self._clips = clips
        self._bits_per_token = clips.geometry.code.bits_per_token
        self._verify = verify
        self._groups: dict[int, _Group] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_groups": {}}

    def read(self, group: int, row: int) -> tuple[Codes, int, tuple[int, ...]]:
        """Read one row of a row group: a buffer, where the clip's codes begin in it, and its (full) grid.

        The codes are followed by at least ``SPARE_BYTES``.
        """
        known = self._groups.get(group) or self._find_out(group)
        run = known.runs[bisect_right(known.run_ends, row)]
        if self._verify or known.group.compressed:
            return *self._from_whole(known, row), run.grid
        header = known.headers[bisect_right(known.page_ends, row)]
        offset = header + run.before + (row - run.first) * (run.size + LENGTH_BYTES)
        buffer = np.empty(LENGTH_BYTES + run.size + SPARE_BYTES, np.uint8)
        own = buffer[: LENGTH_BYTES + run.size]
        files, place = known.part.files, known.group
        files.read_into(own, place.shard_id, place.shard_bytes, place.codes_offset + offset)
        if unpack_from("<I", buffer.data)[0] != run.size or (run.used and own[-1] >> run.used):
            with damage_of(files, place):
                raise ValueError("a clip's length or padding does not match its shape")
        return buffer, LENGTH_BYTES, run.grid

    def _from_whole(self, known: _Group, row: int) -> tuple[Codes, int]:
        shapes = known.part.index.shapes_of(known.number)
        codes, starts = read_chunk(
            known.part.files,
            known.group,
            np.empty(known.group.codes_bytes, np.uint8),
            shapes,
            geometry=self._clips.geometry,
            verify=self._verify,
        )
        return np.concatenate((codes, np.zeros(SPARE_BYTES, np.uint8))), int(starts[row])

    def _find_out(self, number: int) -> _Group:
        part, own_number = self._clips.locate(number)
        group = part.index.group(own_number)
        runs: list[_Run] = []
        row = before = 0
        for rows, *grid in part.index.runs_of(own_number).tolist():
            num_tokens = prod(self._clips.places_of(grid))
            size, used = packed_size(num_tokens, self._bits_per_token), num_tokens * self._bits_per_token & 7
            runs.append(_Run(row, row + rows, before, size, tuple(grid), used))
            row, before = row + rows, before + rows * (size + LENGTH_BYTES)
        ends, headers = [group.num_rows], [group.codes_bytes - before]
        # A surplus or missing row shows in the bytes left for headers, unless a row is shorter than a header.
        least_row = min((run.size for run in runs), default=0) + LENGTH_BYTES
        doubtful = headers[0] >= 2 * _LEAST_HEADER_BYTES or least_row < _LEAST_HEADER_BYTES
        if not group.compressed:
            with damage_of(part.files, group):
                if headers[0] < _LEAST_HEADER_BYTES:
                    raise ValueError(
                        f"the codes column is too short for {group.num_rows} rows of these shapes"
                    )
                if doubtful:
                    ends, headers = _walk_pages(part, group)
        if len(self._groups) >= _KEPT_GROUPS:
            self._groups = {}
        run_ends = [run.end for run in runs]
        found = self._groups[number] = _Group(part, group, own_number, runs, run_ends, ends, headers)
        return found


def _walk_pages(part: Part, group: RowGroup) -> tuple[list[int], list[int]]:
    """Rows up to each page's end, and bytes of headers up to it, read header by header."""
    ends: list[int] = []
    headers: list[int] = []
    offset = rows = header_bytes = 0
    while offset < group.codes_bytes:
        buffer = np.empty(min(MAX_HEADER_BYTES, group.codes_bytes - offset), np.uint8)
        part.files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset + offset)
        page = page_at(buffer.data, 0)
        rows, header_bytes = rows + page.num_rows, header_bytes + page.body
        ends.append(rows)
        headers.append(header_bytes)
        offset += page.body + page.stored_bytes
    if rows != group.num_rows:
        raise ValueError(f"the codes column has {rows} of {group.num_rows} rows")
    return ends, headers
