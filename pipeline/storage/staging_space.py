"""The folder of this user and machine for copies of source objects while they are in use.

A copy's file is locked by its process (flock) as long as it is used. The kernel releases the lock when the
process dies, however it dies, and the next process removes unlocked files. File names contain the rest of the
state: ``copy-SIZE-…`` reserves SIZE bytes, ``wait-NUMBER-…`` is a place in the queue; ``staging_rules``
decides who may enter. The folder is read and changed under the lock of ``.lock``, which is only held for the
duration of one scan.
"""

import fcntl
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bitmill.pipeline.storage.staging_rules import Stillness, automatic_limit, fits
from bitmill.pipeline.storage.store_errors import full_disk_told
from bitmill.schemas.errors import InfrastructureError

PATIENCE_S = 20.0
"""How long nothing must have moved before a copy may exceed the bound."""

_POLL_S = 0.2
_LOCK = ".lock"
_PLAIN_SUFFIX = re.compile(r"\.\w{1,16}", re.ASCII)


@dataclass(kw_only=True)
class Room:
    """An initially empty file, owned by its holder, for a copy of the requested size."""

    path: str
    holds: Hashable = None
    """Which object lies in it whole; null while none does."""

    def moved(self) -> None:
        """Show waiting processes that the holder is making progress; keeps the copy's modification time."""
        with suppress(FileNotFoundError):
            status = os.stat(self.path)  # noqa: PTH116 - as os.utime takes it
            os.utime(self.path, ns=(time.time_ns(), status.st_mtime_ns))


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The state of living holders found by a scan of the folder."""

    held: tuple[int, ...]
    """Reserved bytes of each copy."""
    waiting: tuple[str, ...]
    limit_bytes: int
    """The automatic limit."""
    state: frozenset[tuple[str, int]]
    """Changes whenever a copy appears, moves or is removed."""


class StagingSpace:
    """Reserves room in one folder, shared by any number of instances in any process of the user."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"bitmill-staging-{os.getuid()}"
        self._patience_s = patience_s
        self._clock = clock

    @contextmanager
    def room(self, size_bytes: int, *, limit_bytes: int | None, suffix: str = "") -> Generator[Room]:
        """Wait for room and keep it during the block; None selects the automatic bound of ``staging_rules``.

        The file has the ``suffix`` if that is a plain one, because some demuxers use it. Raises
        InfrastructureError if the folder belongs to another user or cannot be used.
        """
        with self._faults():
            held = self._enter(size_bytes, limit_bytes, suffix if _PLAIN_SUFFIX.fullmatch(suffix) else "")
        try:
            yield Room(path=str(held.path))
        finally:
            held.free()

    def sweep(self) -> None:
        """Remove files of dead processes, as far as possible."""
        with suppress(OSError, InfrastructureError):
            if self._folder.is_dir():
                with self._locked():
                    self._look()

    def _enter(self, size_bytes: int, limit_bytes: int | None, suffix: str) -> "_Held":
        name = f"copy-{size_bytes}-{secrets.token_hex(8)}{suffix}"
        with self._locked():
            seen = self._look()
            if not seen.waiting and fits(size_bytes, seen.held, _limit(limit_bytes, seen)):
                return _Held(self._folder / name)
            last = max((int(other.split("-")[1]) for other in seen.waiting), default=0)
            turn = f"wait-{last + 1:012d}-{secrets.token_hex(8)}"
            ticket = _Held(self._folder / turn)
        try:
            still = Stillness(self._patience_s, self._clock)
            while True:
                time.sleep(_POLL_S)
                with self._locked():
                    seen = self._look()
                    if any(other < turn for other in seen.waiting):
                        continue
                    overdue = still.lasts(seen.state)
                    if overdue or fits(size_bytes, seen.held, _limit(limit_bytes, seen)):
                        return _Held(self._folder / name)
        finally:
            ticket.free()

    def _look(self) -> _Seen:
        """Scan the folder, under the lock: collect living holders and remove the files of dead ones."""
        held: list[int] = []
        waiting: list[str] = []
        state: set[tuple[str, int]] = set()
        written = 0
        for entry in os.scandir(self._folder):
            is_waiting = entry.name.startswith("wait-")
            if not (is_waiting or entry.name.startswith("copy-")):
                continue
            status = _status_if_held(entry.path)
            if status is None:
                continue
            if is_waiting:
                waiting.append(entry.name)
            else:
                held.append(int(entry.name.split("-")[1]))
                state.add((entry.name, max(status.st_mtime_ns, status.st_atime_ns)))
                written += 512 * status.st_blocks
        disk = os.statvfs(self._folder)
        return _Seen(
            held=tuple(held),
            waiting=tuple(waiting),
            limit_bytes=automatic_limit(disk.f_bavail * disk.f_frsize, written),
            state=frozenset(state),
        )

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._make_folder()
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_folder(self) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise InfrastructureError(
                f"{self._folder} is not a folder of this user, so copies of sources cannot be stored "
                "there; remove it, or set TMPDIR to another place."
            )
        if stat.S_IMODE(status.st_mode) != 0o700:
            self._folder.chmod(0o700)

    @contextmanager
    def _faults(self) -> Generator[None]:
        try:
            with full_disk_told(str(self._folder)):
                yield
        except OSError as error:
            raise InfrastructureError(
                f"Copies of sources cannot be stored in {self._folder} ({error.strerror}); make it "
                "usable, or set TMPDIR to another place."
            ) from error


class _Held:
    """A new file, locked until this process dies or frees it. Created under the folder's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def free(self) -> None:
        # In this order, so that the file never exists without its lock.
        with suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)


def _status_if_held(path: str) -> os.stat_result | None:
    """The file's status; None if it is gone, or if it was not locked, in which case it is removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.fstat(descriptor)
    else:
        with suppress(FileNotFoundError):
            Path(path).unlink()
        return None
    finally:
        os.close(descriptor)


def _limit(limit_bytes: int | None, seen: _Seen) -> int:
    return seen.limit_bytes if limit_bytes is None else limit_bytes
