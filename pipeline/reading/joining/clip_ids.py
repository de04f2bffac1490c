"""Clip ids as numbers: 16 bytes an id instead of a Python string, and found by binary search."""

from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.schemas.arrays import Int64s

_DIGITS = 32

UInt64s = npt.NDArray[np.uint64]


class ClipIds(NamedTuple):
    """Some clip ids of 128 bits: the upper and the lower 64 bits of each."""

    high: UInt64s
    low: UInt64s

    def text(self, place: int) -> str:
        """One id as it is written."""
        return f"{self.high[place]:016x}{self.low[place]:016x}"


def parse_ids(column: "pa.ChunkedArray[Any]") -> ClipIds:
    """The ids of a column of strings, of any Arrow type. Raises ValueError, which names one that is none."""
    parts = [_parsed(chunk) for chunk in column.cast(pa.large_string()).chunks if len(chunk)]
    return joined(parts)


def joined(parts: "list[ClipIds]") -> ClipIds:
    """These ids one after the other."""
    if not parts:
        return ClipIds(np.empty(0, np.uint64), np.empty(0, np.uint64))
    return ClipIds(*starmap(np.concatenate, ([half] for half in zip(*parts, strict=True))))


def _parsed(chunk: Any) -> ClipIds:
    _, offsets, data = chunk.buffers()
    bounds = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    if chunk.null_count or (np.diff(bounds) != _DIGITS).any():
        raise ValueError(_first_wrong(chunk))
    try:
        numbers = bytes.fromhex(str(memoryview(data)[bounds[0] : bounds[-1]], "ascii"))
    except ValueError as error:
        raise ValueError(_first_wrong(chunk)) from error
    if len(numbers) != len(chunk) * _DIGITS // 2:
        # fromhex skips spaces.
        raise ValueError(_first_wrong(chunk))
    halves = np.frombuffer(numbers, ">u8").reshape(-1, 2).astype(np.uint64)
    return ClipIds(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]))


def _first_wrong(chunk: Any) -> str:
    for text in chunk.to_pylist():
        if text is None:
            return "null"
        if len(text) != _DIGITS or any(digit not in "0123456789abcdefABCDEF" for digit in text):
            return repr(text)
    return "an id that is not UTF-8"


class SortedIds:
    """Where each of many ids is; 20 bytes an id. Raises ValueError, naming the id, if there is one twice."""

    def __init__(self, ids: ClipIds) -> None:
        order = np.argsort(ids.high).astype(np.uint32)
        high = ids.high[order]
        if (high[1:] == high[:-1]).any():
            order = np.lexsort((ids.low, ids.high)).astype(np.uint32)
        self._ids = ClipIds(high, ids.low[order])
        self._rows = order
        high, low = self._ids
        twice = np.flatnonzero((high[1:] == high[:-1]) & (low[1:] == low[:-1]))
        if len(twice):
            raise ValueError(self._ids.text(int(twice[0])))

    def find(self, ids: ClipIds) -> Int64s:
        """The place of each id among those given, -1 for one that is not, int64 [n]."""
        high, low = self._ids
        if not len(high):
            return np.full(len(ids.high), -1, np.int64)
        last = len(high) - 1
        places = np.minimum(np.searchsorted(high, ids.high), last)
        # Different ids with the same upper half follow one another.
        while (behind := (high[places] == ids.high) & (low[places] < ids.low) & (places < last)).any():
            places += behind
        found = (high[places] == ids.high) & (low[places] == ids.low)
        return np.where(found, self._rows[places].astype(np.int64), -1)
