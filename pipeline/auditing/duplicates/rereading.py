"""Clips that are looked at again: their codes, to compare them bit for bit, and what names them."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.auditing.duplicates.collection import ClipCollection
from pipeline.reading.footers import open_shard
from pipeline.storage import Folder
from schemas.audit import ClipPlace

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

ReadGroup = Callable[[int, int, int, Sequence[str]], pa.Table]
"""From dataset (in the order of comparing), shard (in plan order), its row group and columns to a table."""

_PLACE_COLUMNS = ("clip_id", "source", "key", "start_ns", "end_ns")
_PAIRS_AT_ONCE = 64
_KEPT_GROUPS = 8


class StoredGroups:
    """Row groups of committed shards, read by pyarrow; the last few are kept. A ``ReadGroup``.

    Raises FormatError for a damaged file, TransientError for a store that gives out.
    """

    def __init__(self, datasets: Sequence[tuple[Folder, Mapping[int, str]]]) -> None:
        """Each dataset's folder, and its shards' ids by their place in the plan."""
        self._datasets = datasets
        self._read = lru_cache(maxsize=_KEPT_GROUPS)(self._read_anew)

    def __call__(self, dataset: int, shard: int, group: int, columns: Sequence[str]) -> pa.Table:
        """See ``ReadGroup``."""
        return self._read(dataset, shard, group, tuple(columns))

    def _read_anew(self, dataset: int, shard: int, group: int, columns: tuple[str, ...]) -> pa.Table:
        folder, shard_ids = self._datasets[dataset]
        with open_shard(folder, shard_ids[shard]) as file:
            return file.read_row_group(group, columns=list(columns))


class ClipRereader:
    """Reads clips of a collection again, by their numbers."""

    def __init__(self, clips: ClipCollection, read_group: ReadGroup, names: Sequence[str | None]) -> None:
        """``names`` is what each dataset is called in a ``ClipPlace``."""
        self._clips = clips
        self._read_group = read_group
        self._names = names

    def distances(self, later: Int64s, earlier: Int64s) -> Float64s:
        """The share of bits in which the codes of each pair differ; 1 where their shapes do."""
        shapes = self._clips.clips["shape"]
        far = np.ones(len(later), np.float64)
        comparable = np.flatnonzero(shapes[later] == shapes[earlier])
        for first in range(0, len(comparable), _PAIRS_AT_ONCE):
            pairs = comparable[first : first + _PAIRS_AT_ONCE]
            codes = self._codes(np.unique(np.concatenate((later[pairs], earlier[pairs]))).tolist())
            for pair in pairs.tolist():
                one, other = int(later[pair]), int(earlier[pair])
                differing = int(np.bitwise_count(codes[one] ^ codes[other]).sum())
                far[pair] = differing / self._clips.num_bits(one)
        return far

    def places(self, numbers: Sequence[int]) -> dict[int, ClipPlace]:
        """What names each of these clips."""
        found: dict[int, ClipPlace] = {}
        for number in sorted(numbers):
            dataset, table, row = self._row(number, _PLACE_COLUMNS)
            fields: dict[str, Any] = {name: table.column(name)[row].as_py() for name in _PLACE_COLUMNS}
            found[number] = ClipPlace(dataset=self._names[dataset], **fields)
        return found

    def _codes(self, numbers: Sequence[int]) -> dict[int, npt.NDArray[np.uint8]]:
        found: dict[int, npt.NDArray[np.uint8]] = {}
        for number in numbers:
            _, table, row = self._row(number, ("codes",))
            # A copy, so that the row group need not be held for it.
            found[number] = np.frombuffer(table.column("codes")[row].as_buffer(), np.uint8).copy()
        return found

    def _row(self, number: int, columns: Sequence[str]) -> tuple[int, pa.Table, int]:
        dataset = int(np.searchsorted(self._clips.firsts, number, side="right")) - 1
        clip = self._clips.clips[number]
        table = self._read_group(dataset, int(clip["shard"]), int(clip["group"]), columns)
        return dataset, table, int(clip["row"])
