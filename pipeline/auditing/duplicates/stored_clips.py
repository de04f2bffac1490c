"""Rereads single clips of committed shards by location."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from bitmill.pipeline.auditing.duplicates.signatures import Shape, digest_of
from bitmill.pipeline.reading.index.footers import leaves_of, open_shard
from bitmill.pipeline.storage import Folder, join
from bitmill.schemas.arrays import Codes
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError

_KEPT_SHARDS = 1024
_KEPT_TABLES = 8
_PLACE_COLUMNS = ["clip_id", "source", "key", "start_ns", "end_ns"]


class ClipAddress(NamedTuple):
    """The location of a clip's codes, and the digest that they must have."""

    dataset: int
    """In the order of comparison."""
    shard: int
    """``shard_index`` of the plan."""
    group: int
    row: int
    """In the row group."""
    start: int
    """Their first byte in the column chunk, if it is not compressed."""
    num_bytes: int
    shape: Shape
    digest: bytes


class ClipStore(Protocol):
    """Rereads single clips. Safe for threads."""

    def codes(self, address: ClipAddress) -> Codes:
        """A clip's codes."""
        ...

    def names(self, dataset: int, shard: int, group: int) -> pa.Table:
        """``clip_id``, ``source``, ``key``, ``start_ns`` and ``end_ns`` of a row group's clips."""
        ...


class StoredClips:
    """A ``ClipStore`` over dataset folders: reads a clip as one byte range and checks its digest.

    Raises FormatError if a shard is damaged or has changed, and the storage's errors.
    """

    def __init__(self, datasets: Sequence[tuple[Folder, Mapping[int, str]]]) -> None:
        """Each dataset's folder, and its shards' ids by ``shard_index``."""
        self._datasets = datasets
        self._chunks = lru_cache(maxsize=_KEPT_SHARDS)(self._read_chunks)
        self.names = lru_cache(maxsize=_KEPT_TABLES)(self._read_names)

    def codes(self, address: ClipAddress) -> Codes:
        """See ``ClipStore``."""
        folder, shard_ids = self._datasets[address.dataset]
        name = shard_file(shard_ids[address.shard])
        first = self._chunks(address.dataset, address.shard)[address.group]
        if first is not None:
            start = first + address.start
            found = np.frombuffer(folder.read_range(name, start, start + address.num_bytes), np.uint8)
            if digest_of(address.shape, found.data) == address.digest:
                return found
        found = self._from_whole(address)
        if digest_of(address.shape, found.data) != address.digest:
            raise FormatError(f"{join(folder.uri, name)} changed during the audit.")
        return found

    def _read_chunks(self, dataset: int, shard: int) -> list[int | None]:
        """The first byte of each row group's codes; None if they are compressed."""
        folder, shard_ids = self._datasets[dataset]
        with open_shard(folder, shard_ids[shard]) as file:
            groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
            columns = [group.column(leaves_of(group)["codes"]) for group in groups]
        return [
            column.data_page_offset if column.compression == "UNCOMPRESSED" else None for column in columns
        ]

    def _from_whole(self, address: ClipAddress) -> Codes:
        folder, shard_ids = self._datasets[address.dataset]
        with open_shard(folder, shard_ids[address.shard]) as file:
            table = file.read_row_group(address.group, columns=["codes"])
        scalar: Any = table.column("codes")[address.row]
        return np.frombuffer(scalar.as_buffer(), np.uint8)

    def _read_names(self, dataset: int, shard: int, group: int) -> pa.Table:
        folder, shard_ids = self._datasets[dataset]
        with open_shard(folder, shard_ids[shard]) as file:
            return file.read_row_group(group, columns=_PLACE_COLUMNS)
