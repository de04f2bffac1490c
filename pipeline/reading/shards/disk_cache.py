"""Caches ranges of remote shards on a local disk, up to a size, evicting the least recently used."""

import os
import secrets
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from isal import isal_zlib

from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks
from bitmill.pipeline.storage import full_disk_told
from bitmill.schemas.errors import UsageError

_SUFFIX, _ASIDE = ".range", ".part"
_SHARE = 0.1
"""The folder is listed again each time this share of its bound has been written."""


class ChunkCache:
    """A folder of cached ranges named by shard id, shard size and offset.

    A shard only changes by losing clips, which makes it smaller, so its entries are never confused. Many
    processes may share the folder: files appear atomically, and a range that another process evicted is
    fetched again. One process keeps the folder within ``max_bytes``; each further one may exceed it by a
    tenth for a while. Safe for threads. Raises UsageError if the folder is not writable, InfrastructureError
    if its disk is full.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.renew()

    def renew(self) -> None:
        """Forget what is known about the folder."""
        renewed_in_forks(self)
        self._lock = threading.Lock()
        self._unseen = self.max_bytes
        """Bytes written since the folder was last listed; initially enough to force a listing."""
        self._being_written = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def get(self, name: str, num_bytes: int, fetch: Callable[[], bytes]) -> bytes | memoryview:
        """Return the named range from disk, or fetch and cache it. Raises what ``fetch`` raises.

        Each file ends with its checksum: a damaged one is fetched again. Does not cache a fetched range of a
        size other than ``num_bytes``.
        """
        path = self.folder / f"{name}-{num_bytes}{_SUFFIX}"
        with suppress(OSError):
            kept = memoryview(path.read_bytes())
            data, checksum = kept[:num_bytes], bytes(kept[num_bytes:])
            if len(data) == num_bytes and checksum == _checksum(data):
                os.utime(path)
                return data
        fetched = fetch()
        if len(fetched) == num_bytes:
            self._keep(path, fetched + _checksum(fetched))
        return fetched

    def _keep(self, path: Path, data: bytes) -> None:
        """Write an entry, unless it and the entries that other threads are writing would fill the cache."""
        with self._lock:
            if self._being_written + len(data) > self.max_bytes * (1 - _SHARE):
                return
            self._being_written += len(data)
            self._unseen += len(data)
            if self._unseen > self.max_bytes * _SHARE:
                self._make_room(self._being_written)
                self._unseen = self._being_written
        try:
            self._write(path, data)
        finally:
            with self._lock:
                self._being_written -= len(data)

    def _write(self, path: Path, data: bytes) -> None:
        aside = path.with_name(f".{secrets.token_hex(8)}{_ASIDE}")
        try:
            with full_disk_told(str(self.folder)):
                self.folder.mkdir(parents=True, exist_ok=True)
                # Another process may be deleting the folder right now.
                with suppress(FileNotFoundError):
                    aside.write_bytes(data)
                    aside.replace(path)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise UsageError(
                f"The cache {self.folder} is not writable ({error.strerror}); choose another folder."
            ) from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        entries: list[tuple[float, int, Path]] = []
        # Temporary files of killed processes count too, and are evicted when oldest.
        for path in (*self.folder.glob(f"*{_SUFFIX}"), *self.folder.glob(f".*{_ASIDE}")):
            with suppress(OSError):
                found = path.stat()
                entries.append((found.st_mtime, found.st_size, path))
        held = sum(size for _, size, _ in entries) + needed
        for _, size, path in sorted(entries):
            if held <= self.max_bytes * (1 - _SHARE):
                break
            with suppress(OSError):
                path.unlink()
            held -= size


def _checksum(data: bytes | memoryview) -> bytes:
    return struct.pack("<I", isal_zlib.crc32(data))
