"""Reuses large buffers once nothing references them: fresh memory costs more than the writes to it."""

import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks

_FREE = max(sys.getrefcount(array) for array in [np.empty(0, np.uint8)])
"""Reference count of an array that only a list references, as seen by ``take``; differs by Python version."""


class BufferPool:
    """Hands out arrays, and reuses those whose tensors and views have all been dropped.

    A ``torch.from_numpy`` tensor keeps a reference to its array, and views of it keep the tensor's storage,
    so Python's reference count shows when a batch is gone. Keeps at most ``max_kept`` arrays, of the sizes
    requested last. With ``level``, every buffer is as large as the largest requested so far, so that requests
    of different sizes can reuse each other's. Safe for threads.
    """

    def __init__(self, max_kept: int, *, level: bool = False) -> None:
        self._max_kept = max_kept
        self._level = level
        self.renew()

    def renew(self) -> None:
        """Drop all arrays."""
        renewed_in_forks(self)
        self._arrays: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()
        self._largest = 0

    def take(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        """A uint8 buffer of ``num_bytes`` to 1.25 times that (or larger, see above) of undefined contents.

        If no free buffer fits, all free ones are dropped: sizes drift, and buffers that no longer fit would
        otherwise be kept in addition.
        """
        with self._lock:
            if self._level:
                num_bytes = self._largest = max(num_bytes, self._largest)
            held: list[npt.NDArray[np.uint8]] = []
            for array in self._arrays:
                if sys.getrefcount(array) > _FREE:
                    held.append(array)
                elif num_bytes <= len(array) <= num_bytes + num_bytes // 4:
                    return array
            made = np.empty(num_bytes, np.uint8)
            self._arrays = [*held, made][-self._max_kept :]
            return made

    def __getstate__(self) -> dict[str, Any]:
        return {"max_kept": self._max_kept, "level": self._level}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
