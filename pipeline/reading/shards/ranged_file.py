"""A seekable file over a shard for pyarrow; each read is a byte range, cached if there is a cache."""

import io
from typing import Any

import numpy as np

from bitmill.pipeline.reading.shards.shard_files import ShardFiles


class RangedFile(io.RawIOBase):
    """One shard of known size, read only; raises what ``ShardFiles.read_into`` raises."""

    def __init__(self, files: ShardFiles, shard_id: str, shard_bytes: int) -> None:
        super().__init__()
        self._files, self._shard_id, self._size = files, shard_id, shard_bytes
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
            self._files.read_into(wanted, self._shard_id, self._size, self._at)
        self._at += len(wanted)
        return len(wanted)
