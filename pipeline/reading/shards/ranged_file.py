"""A seekable file over a stored file for pyarrow; each read is one byte range."""

import io
from typing import Any, Protocol

import numpy as np

from bitmill.schemas.arrays import Codes


class Ranges(Protocol):
    """Files by name, for example ``ShardFiles`` with its cache."""

    def read_into(self, buffer: Codes, name: str, size: int, offset: int, /) -> None:
        """Fill ``buffer`` from byte ``offset`` of the file of this name and size."""
        ...


class RangedFile(io.RawIOBase):
    """One file of known size, read only; raises what ``read_into`` raises."""

    def __init__(self, files: Ranges, name: str, size: int) -> None:
        super().__init__()
        self._files, self._name, self._size = files, name, size
        self._at = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an offset."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, or as much of it as the rest of the file allows."""
        wanted = np.frombuffer(buffer, np.uint8)[: max(0, self._size - self._at)]
        if len(wanted):
            self._files.read_into(wanted, self._name, self._size, self._at)
        self._at += len(wanted)
        return len(wanted)
