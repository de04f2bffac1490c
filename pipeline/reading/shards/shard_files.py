"""Reads byte ranges of token shards, from a local disk or any store, with a bounded number of open files."""

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np

from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks
from bitmill.pipeline.reading.shards.disk_cache import ChunkCache
from bitmill.pipeline.storage import Folder, is_local, join
from bitmill.schemas.arrays import Codes
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError

_MOST_OPEN = 128
"""Total over all datasets; Linux allows a process 1,024 by default."""


class ShardFiles:
    """Reads ranges of one dataset's shards. Safe for threads and forks; pickles without open files.

    Raises FormatError if a shard is missing or its size is not ``shard_bytes``, i.e. it is not the file that
    was indexed; TransientError if a store still fails after retries.
    """

    def __init__(self, folder: Folder, cache: ChunkCache | None = None) -> None:
        self.folder = folder
        self.cache = cache
        self._local = is_local(folder.uri)
        self._own_files()

    def _own_files(self) -> None:
        self._owner = next(_OWNERS)
        finalize(self, _OPEN.close, self._owner)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._own_files()

    def read_into(self, buffer: Codes, shard_id: str, shard_bytes: int, offset: int) -> None:
        """Fill ``buffer`` from byte ``offset`` of a shard."""
        end = offset + len(buffer)
        if not 0 <= offset <= end <= shard_bytes:
            uri = join(self.folder.uri, shard_file(shard_id))
            raise FormatError(f"{uri} has no bytes {offset} to {end} among its {shard_bytes}: {_CHANGED}")
        if self._local:
            self._local_file(shard_id, shard_bytes).read_into(buffer.data, offset)
            return
        data = self._remote(shard_id, shard_bytes, offset, len(buffer))
        if len(data) != len(buffer):
            uri = join(self.folder.uri, shard_file(shard_id))
            raise FormatError(f"{uri} ends before byte {offset + len(buffer)}: {_CHANGED}")
        buffer[:] = np.frombuffer(data, np.uint8)

    def _remote(self, shard_id: str, shard_bytes: int, offset: int, size: int) -> bytes | memoryview:
        def fetch() -> bytes:
            try:
                return self.folder.read_range(shard_file(shard_id), offset, offset + size)
            except FileNotFoundError as error:
                uri = join(self.folder.uri, shard_file(shard_id))
                raise FormatError(f"The token shard {uri} is missing.") from error

        # The size distinguishes a shard from its earlier version with more clips.
        name = f"{shard_id}-{shard_bytes}-{offset}"
        return self.cache.get(name, size, fetch) if self.cache else fetch()

    def _local_file(self, shard_id: str, shard_bytes: int) -> "_LocalFile":
        file = _OPEN.get((self._owner, shard_id))
        if file is None:
            file = _LocalFile(Path(self.folder.uri) / shard_file(shard_id), shard_bytes)
            _OPEN.keep((self._owner, shard_id), file)
        return file


_CHANGED = (
    "it is not the file that index.parquet was made from. Delete index.parquet if shards were rewritten."
)


class _LocalFile:
    """One open file, read by position so that threads can share it; closed with its last reference."""

    def __init__(self, path: Path, expected_bytes: int) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FormatError(f"The token shard {path} is missing.") from error
        size = os.fstat(self._descriptor).st_size
        if size != expected_bytes:
            raise FormatError(f"{path} is damaged: it has {size} of {expected_bytes} bytes, or {_CHANGED}")
        self._path = path

    def read_into(self, view: memoryview, offset: int) -> None:
        left = len(view)
        while left:
            done = os.preadv(self._descriptor, [view], offset)
            if not done:
                raise FormatError(f"{self._path} is damaged: it ends before byte {offset + left}.")
            left, offset = left - done, offset + done
            if left:
                view = view[done:]

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self._descriptor)


class _OpenFiles:
    """The files that this process has open, of all owners; the least recently used are closed first."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Drop all files."""
        renewed_in_forks(self)
        # Reentrant, because the garbage collector may finalize an owner in a thread that holds it.
        self._lock = threading.RLock()
        self._files: OrderedDict[tuple[int, str], _LocalFile] = OrderedDict()

    def get(self, key: tuple[int, str]) -> _LocalFile | None:
        """An owner's open file with this name."""
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
            return file

    def keep(self, key: tuple[int, str], file: _LocalFile) -> None:
        """Keep an owner's file open, in place of the least recently used."""
        with self._lock:
            self._files[key] = file
            while len(self._files) > _MOST_OPEN:
                # A thread that still reads from it keeps it open.
                self._files.popitem(last=False)

    def close(self, owner: int) -> None:
        """Drop all files of an owner."""
        with self._lock:
            for key in [key for key in self._files if key[0] == owner]:
                del self._files[key]


_OWNERS = count()
_OPEN = _OpenFiles()
