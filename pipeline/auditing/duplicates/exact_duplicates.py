"""Finds clips with equal shape and codes, by a hash of both."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.duplicates.collection import ClipCollection
from bitmill.pipeline.auditing.duplicates.partitions import Partitions, num_partitions, partition_of
from bitmill.schemas.arrays import Int64s

_RECORD = np.dtype([("high", np.uint64), ("low", np.uint64), ("clip", np.int64)])


def exact_copies(clips: ClipCollection, folder: Path, partition_bytes: int) -> tuple[Int64s, Int64s]:
    """Each clip that repeats earlier codes, ascending, and the first clip with them: (firsts, copies)."""
    count = num_partitions(len(clips) * _RECORD.itemsize, partition_bytes)
    partitions = Partitions(folder, "digests", _RECORD, count)
    for span in clips.spans():
        digests = clips.clips["digest"][span]
        records = np.empty(len(digests), _RECORD)
        records["high"], records["low"] = digests.T
        records["clip"] = np.arange(span.start, span.stop)
        partitions.add(records, partition_of(records["high"], count))
    found = [_copies(records) for records in partitions.read()]
    firsts, copies = (np.concatenate([part[side] for part in found]) for side in (0, 1))
    order = np.argsort(copies)
    return firsts[order], copies[order]


def _copies(records: npt.NDArray[np.void]) -> tuple[Int64s, Int64s]:
    # Clips with equal digests stay in order.
    records = records[np.lexsort((records["low"], records["high"]))]
    same = np.zeros(len(records), np.bool_)
    same[1:] = (records["high"][1:] == records["high"][:-1]) & (records["low"][1:] == records["low"][:-1])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(records))))
    return records["clip"][starts[same]], records["clip"][same]
