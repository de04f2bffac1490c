"""Temporary folders named after their owner, so that a later run can remove those of killed ones."""

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "bitmill-scratch-"

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


def owner_name() -> str:
    """This process's name: ``<host>-<machine>-<pid>``."""
    return f"{_machine()}-{os.getpid()}"


def owner_is_dead(owner: str) -> bool:
    """True if an ``owner_name`` is of this machine and its process has ended; others count as alive."""
    machine, _, pid = owner.rpartition("-")
    return machine == _machine() and pid.isdigit() and _has_ended(int(pid))


def _has_ended(pid: int) -> bool:
    try:
        # The state follows the program's name, which is in parentheses.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    # A killed one stays as a zombie until its parent looks; in a container that may be never.
    return state in (b"Z", b"X")


def _machine() -> str:
    """Identifies where a process id is valid: containers may share a host's name, and machines may too."""
    told = [socket.gethostname()]
    with suppress(OSError):
        told += [_BOOT.read_text().strip(), str(_NAMESPACE.readlink())]
    return f"{told[0]}-{hashlib.sha256(' '.join(told).encode()).hexdigest()[:12]}"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A temporary folder on this machine that is removed with its contents when the block ends."""
    prefix = f"{_PREFIX}{owner_name()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep_scratch() -> None:
    """Remove scratch folders of this user's dead processes on this machine, as far as possible."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
        with suppress(OSError):
            if owner_is_dead(owner) and folder.lstat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
