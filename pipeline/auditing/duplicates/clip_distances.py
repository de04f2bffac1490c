"""Rereads clips: their codes, to compare them bit by bit, and their names."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bitmill.pipeline.auditing.duplicates.collection import ClipCollection
from bitmill.pipeline.auditing.duplicates.stored_clips import ClipStore
from bitmill.schemas.arrays import Float64s, Int64s
from bitmill.schemas.reports.audit_report import ClipPlace

_PAIRS_AT_ONCE = 64
_THREADS = 16


class ClipRereader:
    """Rereads clips of a collection by their numbers."""

    def __init__(self, clips: ClipCollection, store: ClipStore, names: Sequence[str | None]) -> None:
        """``names`` is the name of each dataset in a ``ClipPlace``."""
        self._clips = clips
        self._store = store
        self._names = names

    def distances(self, later: Int64s, earlier: Int64s) -> Float64s:
        """The share of bits in which the codes of each pair differ; 1 if their shapes differ."""
        shapes = self._clips.clips["shape"]
        far = np.ones(len(later), np.float64)
        comparable = np.flatnonzero(shapes[later] == shapes[earlier])
        with ThreadPoolExecutor(_THREADS) as pool:
            for first in range(0, len(comparable), _PAIRS_AT_ONCE):
                pairs = comparable[first : first + _PAIRS_AT_ONCE]
                numbers: list[int] = np.unique(np.concatenate((later[pairs], earlier[pairs]))).tolist()
                addresses = [self._clips.address(number) for number in numbers]
                codes = dict(zip(numbers, pool.map(self._store.codes, addresses), strict=True))
                for pair in pairs.tolist():
                    one, other = int(later[pair]), int(earlier[pair])
                    differing = int(np.bitwise_count(codes[one] ^ codes[other]).sum())
                    far[pair] = differing / self._clips.num_bits(one)
        return far

    def places(self, numbers: Iterable[int]) -> dict[int, ClipPlace]:
        """The id, source and time of each of these clips."""
        found: dict[int, ClipPlace] = {}
        for number in sorted(numbers):
            address = self._clips.address(number)
            table = self._store.names(address.dataset, address.shard, address.group)
            fields: dict[str, Any] = table.slice(address.row, 1).to_pylist()[0]
            found[number] = ClipPlace(dataset=self._names[address.dataset], **fields)
        return found
