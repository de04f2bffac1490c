"""One clip by itself: where its codes lie in the file, found from the index, read as one range of bytes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.reading.clips import Part, damage_of, read_chunk
from pipeline.reading.index import RowGroup, Shape
from pipeline.reading.layout import LENGTH_BYTES
from pipeline.reading.pages import MAX_HEADER_BYTES, page_at
from schemas.packing import packed_size

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

_LEAST_HEADER_BYTES = 20
"""No header of a page with a checksum is shorter, and none without statistics twice as long."""
_KEPT_PAGES = 10_000


class SingleClips:
    """Reads clips of datasets one by one. Safe for threads; pickles without what it found.

    With ``verify``, a clip's whole row group is read, as checksums are those of pages. Raises FormatError,
    naming the shard, for damage.
    """

    def __init__(self, bits_per_token: int, *, verify: bool) -> None:
        self._bits_per_token = bits_per_token
        self._verify = verify
        self._pages: dict[tuple[str, int], tuple[Int64s, Int64s]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pages": {}}

    def read(self, part: Part, number: int, row: int) -> tuple[Codes, Shape]:
        """Codes and shape of a row of a row group, by the group's number in the dataset's index."""
        group = part.index.group(number)
        shape, before = part.index.place_in(number, row, self._bits_per_token)
        size = packed_size(shape.num_tokens, self._bits_per_token)
        if self._verify or group.compressed:
            shapes = part.index.shapes_of(number)
            buffer = np.empty(group.codes_bytes, np.uint8)
            codes, starts = read_chunk(
                part.files,
                group,
                buffer,
                shapes,
                bits_per_token=self._bits_per_token,
                verify=self._verify,
            )
            return codes[starts[row] : starts[row] + size], shape
        with damage_of(part.files, group):
            offset = self._headers(part, number, group, row) + before + LENGTH_BYTES * row
            codes = self._read_alone(part, group, offset, size)
            used = shape.num_tokens * self._bits_per_token % 8
            if used and codes[-1] >> used:
                raise ValueError("the padding after the clip's last token is not zero")
        return codes, shape

    def _read_alone(self, part: Part, group: RowGroup, offset: int, size: int) -> Codes:
        """A clip's own bytes, whose length stands at ``offset`` of the column chunk."""
        buffer = np.empty(LENGTH_BYTES + size, np.uint8)
        part.files.read_into(buffer, group.shard_id, group.shard_bytes, group.codes_offset + offset)
        if int.from_bytes(buffer[:LENGTH_BYTES].tobytes(), "little") != size:
            raise ValueError("the length before a clip's codes is not the one that its shape gives")
        return buffer[LENGTH_BYTES:]

    def _headers(self, part: Part, number: int, group: RowGroup, row: int) -> int:
        """Bytes of page headers up to a row: what the chunk has beyond its values, where it has one page."""
        beyond = group.codes_bytes
        for rows, *grid in part.index.runs_of(number).tolist():
            beyond -= rows * (packed_size(Shape(*grid).num_tokens, self._bits_per_token) + LENGTH_BYTES)
        if beyond < 2 * _LEAST_HEADER_BYTES:
            return beyond
        ends, headers = self._known_pages(part, group)
        return int(headers[np.searchsorted(ends, row, side="right")])

    def _known_pages(self, part: Part, group: RowGroup) -> tuple[Int64s, Int64s]:
        """Rows up to each page's end, and bytes of headers up to it: found once, header by header."""
        key = (group.shard_id, group.number)
        known = self._pages.get(key)
        if known is None:
            known = _walk_pages(part, group)
            if len(self._pages) >= _KEPT_PAGES:
                self._pages = {}
            self._pages[key] = known
        return known


def _walk_pages(part: Part, group: RowGroup) -> tuple[Int64s, Int64s]:
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
