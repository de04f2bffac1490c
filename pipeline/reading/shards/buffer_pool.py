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
        self._most_held = 0
        """Most bytes that were held at a time."""

    def take(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        """A uint8 buffer of ``num_bytes`` to 1.25 times that (or larger, see above) of undefined contents.

        If no free buffer fits, free ones, first the oldest, are dropped until no more is kept than was once
        held at a time: sizes drift, and buffers that no longer fit would otherwise be kept in addition.
        """
        with self._lock:
            if self._level:
                num_bytes = self._largest = max(num_bytes, self._largest)
            is_held = [sys.getrefcount(array) > _FREE or self._is_lent(array) for array in self._arrays]
            for array, used in zip(self._arrays, is_held, strict=True):
                if not used and num_bytes <= len(array) <= num_bytes + num_bytes // 4:
                    return array
            self._drop_free(num_bytes, is_held)
            made = self._new(num_bytes)
            self._arrays = [*self._arrays, made][-self._max_kept :]
            return made

    def _new(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        return np.empty(num_bytes, np.uint8)

    def _is_lent(self, array: npt.NDArray[np.uint8]) -> bool:  # noqa: ARG002 - see ``WorkerBuffers``
        """Whether another process has it."""
        return False

    def _drop_free(self, num_bytes: int, is_held: list[bool]) -> None:
        """Make room for ``num_bytes`` more that are held."""
        held = num_bytes + sum(len(array) for array, used in zip(self._arrays, is_held, strict=True) if used)
        self._most_held = max(self._most_held, held)
        room = self._most_held - held
        kept: list[npt.NDArray[np.uint8]] = []
        for array, used in zip(reversed(self._arrays), reversed(is_held), strict=True):
            if used or len(array) <= room:
                kept.append(array)
                room -= 0 if used else len(array)
        self._arrays = kept[::-1]

    def __getstate__(self) -> dict[str, Any]:
        return {"max_kept": self._max_kept, "level": self._level}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
