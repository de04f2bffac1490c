"""Temporary folders that name their owner, so that a later run can remove what a killed one left."""

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
    """Whether an ``owner_name`` is of this machine and its process is gone; others count as alive."""
    machine, _, pid = owner.rpartition("-")
    return machine == _machine() and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _machine() -> str:
    """Where a process id means what it means here: containers may share a host's name, and machines too."""
    told = [socket.gethostname()]
    with suppress(OSError):
        told += [_BOOT.read_text().strip(), str(_NAMESPACE.readlink())]
    return f"{told[0]}-{hashlib.sha256(' '.join(told).encode()).hexdigest()[:12]}"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A folder among the machine's temporary files that ends, with all in it, with the block."""
    prefix = f"{_PREFIX}{owner_name()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep_scratch() -> None:
    """Remove scratch folders of dead processes of this user on this machine, as far as that can be done."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
        with suppress(OSError):
            if owner_is_dead(owner) and folder.lstat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
