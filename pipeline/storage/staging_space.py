"""The folder of this user and machine in which copies of foreign objects lie while somebody uses them.

A copy's file is locked by its process (flock) as long as it is used. The kernel lets go of the lock when the
process dies, however it dies, and whoever comes next removes what nobody holds. Names tell the rest:
``copy-SIZE-…`` holds room for so many bytes, ``wait-NUMBER-…`` stands in the queue; who may enter is for
``staging_rules`` to say. Looking and changing happen under the lock of ``.lock``, which is never held for
longer than a look at the folder.
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

from bitmill.pipeline.storage.filesystem import full_disk_told
from bitmill.pipeline.storage.staging_rules import Stillness, automatic_limit, fits
from bitmill.schemas.errors import InfrastructureError

PATIENCE_S = 20.0
"""Nothing must have moved for so long before a copy goes over the bound."""

_POLL_S = 0.2
_LOCK = ".lock"
_PLAIN_SUFFIX = re.compile(r"\.\w{1,16}", re.ASCII)


@dataclass(kw_only=True)
class Room:
    """A file of its holder's own, empty at first, for a copy of the size that was asked for."""

    path: str
    holds: Hashable = None
    """Which object lies in it whole; null while none does."""

    def moved(self) -> None:
        """Show those who wait that its holder gets on. When the copy last changed is left as it is."""
        with suppress(FileNotFoundError):
            status = os.stat(self.path)  # noqa: PTH116 - as os.utime takes it
            os.utime(self.path, ns=(time.time_ns(), status.st_mtime_ns))


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a look at the folder finds of living holders."""

    held: tuple[int, ...]
    """Bytes that are reserved."""
    waiting: tuple[str, ...]
    limit_bytes: int
    """The automatic one."""
    state: frozenset[tuple[str, int]]
    """Changes whenever a copy comes, moves or goes."""


class StagingSpace:
    """Room in one folder. Any number of these, in any process of the user, share it."""

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
        """Room for the length of the block, waited for; null is the automatic bound of ``staging_rules``.

        The file has the ``suffix`` where that is a plain one, since some demuxers look at it. Raises
        InfrastructureError where the folder is another user's or cannot be used.
        """
        with self._faults():
            held = self._enter(size_bytes, limit_bytes, suffix if _PLAIN_SUFFIX.fullmatch(suffix) else "")
        try:
            yield Room(path=str(held.path))
        finally:
            held.free()

    def sweep(self) -> None:
        """Remove what the dead have left, as far as that can be done."""
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
        """Under the lock: who lives. The files of the dead are removed."""
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
                f"{self._folder} is not a folder of this user's, so no copy of a source can be put there; "
                "remove it, or set TMPDIR to another place."
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
                f"Copies of sources cannot be put into {self._folder} ({error.strerror}); make it usable, or "
                "set TMPDIR to another place."
            ) from error


class _Held:
    """A new file, locked as long as this process lives and does not free it. Made under the folder's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def free(self) -> None:
        # In this order, so that the file is never there without its lock.
        with suppress(OSError):
            self.path.unlink()
        os.close(self._descriptor)


def _status_if_held(path: str) -> os.stat_result | None:
    """The file's status; null where it is gone, or nobody held it, and then it is removed."""
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
