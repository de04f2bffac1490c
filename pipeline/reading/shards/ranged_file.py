"""A shard as a file to seek in, for pyarrow: each read is a range, from the cache where there is one."""

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
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move there."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, or what of it the file's rest fills."""
        wanted = np.frombuffer(buffer, np.uint8)[: max(0, self._size - self._at)]
        if len(wanted):
            self._files.read_into(wanted, self._shard_id, self._size, self._at)
        self._at += len(wanted)
        return len(wanted)
