"""Large buffers used again once nobody holds them: fresh memory costs more than what is written to it."""

import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks

_FREE = max(sys.getrefcount(array) for array in [np.empty(0, np.uint8)])
"""References to an array that only a list has, asked as ``take`` asks: Pythons count differently."""


class BufferPool:
    """Gives out arrays, and takes those again that were dropped with every tensor and view on them.

    A tensor of ``torch.from_numpy`` keeps a reference to its array, and views of it keep the tensor's
    storage: so Python's own count tells when a batch is gone. Keeps at most ``max_kept`` arrays, of whatever
    size was asked for last. Safe for threads.
    """

    def __init__(self, max_kept: int) -> None:
        self._max_kept = max_kept
        self.renew()

    def renew(self) -> None:
        """Keep nothing."""
        renewed_in_forks(self)
        self._arrays: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        """A buffer of at least so many bytes, uint8, at most a quarter larger; its contents are anything.

        Where none that is free fits, those that are free go: sizes wander, and what no longer fits would be
        kept beside what does.
        """
        with self._lock:
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
        return {"_max_kept": self._max_kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_max_kept"])
