"""Temporary folders that name their owner, so that a later run can remove what a killed one left."""

import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "bitmill-scratch-"


def owner_name() -> str:
    """This process's name on its machine: ``<host>-<pid>``."""
    return f"{socket.gethostname()}-{os.getpid()}"


def owner_is_dead(owner: str) -> bool:
    """Whether an ``owner_name`` is of this machine and its process is gone; others count as alive."""
    host, _, pid = owner.rpartition("-")
    return host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists()


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
