"""Records on disk, partitioned so that one partition at a time fits in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

_BUFFER_BYTES = 1 << 22

Records = npt.NDArray[np.void]


class Partitions:
    """Records of one type in ``count`` files of a folder; each file keeps the order of its records."""

    def __init__(self, folder: Path, name: str, record: np.dtype[np.void], count: int) -> None:
        self._type = record
        self._paths = [folder / f"{name}-{number}" for number in range(count)]
        self._pending: list[Records] = []
        self._numbers: list[npt.NDArray[np.uint16]] = []
        self._bytes = 0

    def add(self, records: Records, numbers: npt.NDArray[np.uint16]) -> None:
        """Add records, each to the partition with its number."""
        self._pending.append(records)
        self._numbers.append(numbers)
        self._bytes += records.nbytes
        if self._bytes >= _BUFFER_BYTES * min(8, len(self._paths)):
            self._write()

    def read(self) -> Iterator[Records]:
        """Yield the partitions in order, each whole and writable; deletes each file once it is read."""
        self._write()
        for path in self._paths:
            if path.exists():
                records = np.fromfile(path, self._type)
                path.unlink()
                yield records
            else:
                yield np.empty(0, self._type)

    def _write(self) -> None:
        if not self._pending:
            return
        numbers = np.concatenate(self._numbers)
        order = np.argsort(numbers, kind="stable")
        records = np.concatenate(self._pending)[order]
        cuts = np.searchsorted(numbers[order], np.arange(len(self._paths) + 1, dtype=np.uint32))
        for path, first, end in zip(self._paths, cuts, cuts[1:], strict=False):
            if first < end:
                with path.open("ab") as file:
                    file.write(records[first:end].data)
        self._pending, self._numbers, self._bytes = [], [], 0


def num_partitions(total_bytes: int, partition_bytes: int) -> int:
    """Number of partitions of about ``partition_bytes`` for ``total_bytes``; at most 65,535."""
    return min(max(1, -(-total_bytes // partition_bytes)), (1 << 16) - 1)


def partition_of(hashes: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.uint16]:
    """The partition of each hash, of ``count``, in the order of hashes."""
    return ((hashes >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.uint16)
