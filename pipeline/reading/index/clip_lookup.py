"""Finds the rows of a clip id or of a source, using a stored index of ids and the plan."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bitmill.pipeline.reading.index.footers import changed_shards, damage_named, num_threads, open_shard
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.storage import Folder, store_errors
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.reading_index import CLIP_INDEX_FILE, CLIP_INDEX_SCHEMA, INDEX_FORMAT_VERSION
from bitmill.schemas.errors import BitmillError, FormatError
from bitmill.schemas.ids import content_id

_GROUP_ROWS = 65536

Place = tuple[int, int]
"""A row group's number in the dataset's index, and a row within it."""


class ClipFinder:
    """Finds clips of one dataset by id; keeps only the first id of each row group of the sorted index.

    The first search builds the index of ids, 24 bytes per clip, and publishes it next to the dataset if the
    folder is writable. Raises FormatError, naming the file, for damaged shards.
    """

    def __init__(self, folder: Folder, index: ReadingIndex) -> None:
        self._folder = folder
        self._index = index
        # Includes sizes, because shards keep their names when clips are removed.
        self._key = content_id("shards", [list(index.shard_ids), index.shard_bytes.tolist()])
        self._bounds: npt.NDArray[np.uint64] | None = None
        self._own: pa.Table | None = None
        """The whole index, if it could not be published."""

    def places(self, clip_id: str) -> Iterator[Place]:
        """Yield the places whose clip has this id: one or none."""
        try:
            prefix = int(clip_id[:16], 16)
        except ValueError:
            return
        # int() also accepts a sign.
        for group, row in self._candidates(prefix) if prefix >= 0 else ():
            with open_shard(self._folder, self._index.group(group).shard_id) as file:
                ids = file.read_row_group(int(self._index.numbers[group]), columns=["clip_id"])
            if ids.column("clip_id")[row].as_py() == clip_id:
                yield group, row

    def _candidates(self, prefix: int) -> list[Place]:
        if self._bounds is None:
            self._bounds = self._opened()
        # The file may have been deleted meanwhile, or be damaged in a part that was not read before.
        with suppress(FileNotFoundError, FormatError):
            return self._among(self._bounds, prefix)
        self._bounds = self._built_anew()
        return self._among(self._bounds, prefix)

    def _among(self, bounds: npt.NDArray[np.uint64], prefix: int) -> list[Place]:
        wanted = np.uint64(prefix)
        first = max(0, int(np.searchsorted(bounds, wanted, side="left")) - 1)
        last = int(np.searchsorted(bounds, wanted, side="right"))
        found: list[Place] = []
        for number in range(first, last):
            table = self._read(number)
            hits = np.flatnonzero(table.column("prefix").to_numpy() == wanted)
            groups, rows = (table.column(name).to_numpy()[hits].tolist() for name in ("row_group", "row"))
            found += zip(groups, rows, strict=True)
        return found

    def _read(self, number: int) -> pa.Table:
        if self._own is None:
            uri = f"{self._folder.uri}/{CLIP_INDEX_FILE}"
            with store_errors(uri), damage_named(uri), self._folder.open(CLIP_INDEX_FILE) as handle:
                file = pq.ParquetFile(handle, pre_buffer=False, page_checksum_verification=True)
                if self._is_of_these_shards(file):
                    return file.read_row_group(number)
            # A reader of other shards has published its own index; do not keep overwriting each other's.
            self._own = self._built()
        return self._own.slice(number * _GROUP_ROWS, _GROUP_ROWS)

    def _opened(self) -> npt.NDArray[np.uint64]:
        with suppress(FileNotFoundError, FormatError, pa.ArrowException, OSError):
            return self._stored_bounds()
        return self._built_anew()

    def _built_anew(self) -> npt.NDArray[np.uint64]:
        table = self._built()
        sink = io.BytesIO()
        metadata = {
            "bitmill.format": "clip-index",
            "bitmill.format_version": str(INDEX_FORMAT_VERSION),
            "bitmill.shards": self._key,
        }
        pq.write_table(
            table.replace_schema_metadata(metadata),
            sink,
            row_group_size=_GROUP_ROWS,
            compression="zstd",
            write_page_checksum=True,
        )
        try:
            self._folder.write_bytes(CLIP_INDEX_FILE, sink.getvalue())
        except (BitmillError, OSError):
            self._own = table
        return table.column("prefix").to_numpy()[::_GROUP_ROWS]

    def _stored_bounds(self) -> npt.NDArray[np.uint64]:
        with self._folder.open(CLIP_INDEX_FILE) as handle:
            file = pq.ParquetFile(handle, pre_buffer=False)
            if not self._is_of_these_shards(file):
                raise FormatError(f"{CLIP_INDEX_FILE} belongs to other shards.")
            firsts: list[Any] = [_least(file, number) for number in range(file.metadata.num_row_groups)]
        return np.array(firsts, np.uint64)

    def _is_of_these_shards(self, file: pq.ParquetFile) -> bool:
        metadata = file.schema_arrow.metadata or {}
        return (metadata.get(b"bitmill.shards"), metadata.get(b"bitmill.format_version")) == (
            self._key.encode(),
            str(INDEX_FORMAT_VERSION).encode(),
        )

    def _built(self) -> pa.Table:
        shards = range(len(self._index.shard_ids))
        with ThreadPoolExecutor(num_threads(self._folder)) as pool:
            parts = list(pool.map(self._prefixes_of, shards))
        prefix = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.uint64)
        group = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.int32)
        row = np.concatenate([part[2] for part in parts]) if parts else np.empty(0, np.int32)
        order = np.argsort(prefix, kind="stable")
        columns = [pa.array(prefix[order]), pa.array(group[order]), pa.array(row[order])]
        return pa.Table.from_arrays(columns, schema=CLIP_INDEX_SCHEMA)

    def _prefixes_of(self, shard: int) -> tuple[Any, Any, Any]:
        groups = np.array(self._index.groups_of(shard), np.int32)
        prefixes: list[Any] = []
        with open_shard(self._folder, self._index.shard_ids[shard]) as file:
            for group in groups.tolist():
                ids = file.read_row_group(int(self._index.numbers[group]), columns=["clip_id"])
                texts: list[Any] = ids.column("clip_id").to_pylist()
                if len(texts) != self._index.num_rows[group]:
                    raise changed_shards(self._folder)
                prefixes.append(np.fromiter((int(text[:16], 16) for text in texts), np.uint64, len(texts)))
        counts = self._index.num_rows[groups]
        rows = [np.arange(count, dtype=np.int32) for count in counts]
        return (
            np.concatenate(prefixes) if prefixes else np.empty(0, np.uint64),
            np.repeat(groups, counts),
            np.concatenate(rows) if rows else np.empty(0, np.int32),
        )


def _least(file: pq.ParquetFile, row_group: int) -> Any:
    """The smallest prefix of a row group. Raises FormatError if its statistics are missing."""
    found = file.metadata.row_group(row_group).column(0).statistics
    if found is None:
        raise FormatError(f"{CLIP_INDEX_FILE} has no statistics.")
    return found.min


def places_of_source(folder: Folder, card: DatasetCard, index: ReadingIndex, source: str) -> Iterator[Place]:
    """Yield the places of a source's clips, in order. Reads the plan and the source column of its shards."""
    places = {shard_id: number for number, shard_id in enumerate(index.shard_ids)}
    for shard_id in _shards_of_source(folder, card, source):
        if shard_id not in places:
            continue
        with open_shard(folder, shard_id) as file:
            for group in index.groups_of(places[shard_id]):
                table = file.read_row_group(int(index.numbers[group]), columns=["source"])
                if table.num_rows != index.num_rows[group]:
                    raise changed_shards(folder)
                same = pc.equal(table.column("source"), pa.scalar(source)).to_numpy()
                for row in np.flatnonzero(same).tolist():
                    yield group, row


def _shards_of_source(folder: Folder, card: DatasetCard, source: str) -> list[str]:
    """Ids of the shards that contain the source according to the plan, in plan order."""
    found: dict[str, None] = {}
    for part in card.plan:
        with damage_named(f"{folder.uri}/{part.file}"):
            data = io.BytesIO(folder.read_bytes(part.file))
            table = pq.read_table(data, columns=["shard_id", "uri"], filters=pc.field("uri") == source)
        shard_ids: list[Any] = table.column("shard_id").to_pylist()
        found |= dict.fromkeys(shard_ids)
    return list(found)
