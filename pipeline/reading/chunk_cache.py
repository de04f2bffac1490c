"""Ranges of remote shards kept on a local disk, up to a bound: what was read last stays."""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.storage import full_disk_told

_SUFFIX = ".range"
_ASIDE = ".part"
_ABANDONED_S = 3600
_SHARE = 0.1
"""The folder is listed whenever this share of its bound was written since the last time."""


class ChunkCache:
    """A folder of ranges named by shard id and place; a shard never changes, so no entry is ever old.

    Many processes may share it: files appear whole, and one that another process removed is fetched again.
    One process keeps the folder within ``max_bytes``; each further one may exceed it by a tenth for a while.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._unseen = max_bytes
        """Bytes written since the folder was listed last; at first, as if never."""

    def get(self, name: str, num_bytes: int, fetch: Callable[[], bytes]) -> bytes:
        """The named range, from disk, or fetched and kept. Raises what ``fetch`` raises."""
        path = self.folder / f"{name}-{num_bytes}{_SUFFIX}"
        with suppress(OSError):
            data = path.read_bytes()
            # A machine that lost its power may leave files without their bytes.
            if len(data) == num_bytes:
                os.utime(path)
                return data
        data = fetch()
        if len(data) <= self.max_bytes:
            self._keep(path, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        with full_disk_told(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._unseen += len(data)
            if self._unseen > self.max_bytes * _SHARE:
                self._make_room(len(data))
                self._unseen = 0
            aside = path.with_name(f".{secrets.token_hex(8)}{_ASIDE}")
            try:
                aside.write_bytes(data)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):
                found = path.stat()
                entries.append((found.st_mtime, found.st_size, path))
        for path in self.folder.glob(f".*{_ASIDE}"):
            # What a killed process was writing.
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()
        held = sum(size for _, size, _ in entries) + needed
        for _, size, path in sorted(entries):
            if held <= self.max_bytes * (1 - _SHARE):
                break
            with suppress(OSError):
                path.unlink()
            held -= size
