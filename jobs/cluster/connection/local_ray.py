"""What a Ray of our own needs of the machine: a token, and a folder with a name short enough for sockets."""

import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bitmill.jobs.cluster.connection.authentication import has_token
from bitmill.schemas.errors import UsageError

_MAX_FOLDER_BYTES = 107 - len("/session_2026-12-01_00-00-00_000000_4194304/sockets/plasma_store.00")
"""The kernel allows a socket's path 107 bytes, and Ray puts so many behind its folder's."""

_SHORT = "/tmp"  # noqa: S108 - Ray's own choice

_VARIABLE = "RAY_AUTH_TOKEN"


@contextmanager
def place_for_ray() -> Generator[dict[str, Any]]:
    """Options of ``ray.init`` for a session that ends before the block does.

    Raises UsageError where the folder's name is too long and no shorter one can be had.
    """
    with ExitStack() as stack:
        if not has_token():
            stack.enter_context(_own_token())
        folder = _ray_folder()
        if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
            folder = stack.enter_context(_by_a_short_name(folder))
        yield {"_temp_dir": str(folder)}


def _ray_folder() -> Path:
    """Where Ray puts its sessions, by the variables that it heeds; but an empty one is none."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or _SHORT) / "ray"


@contextmanager
def _own_token() -> Generator[None]:
    """A token for this session alone: Ray would leave one in the home folder, which may not be writable."""
    os.environ[_VARIABLE] = _token()
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


@cache
def _token() -> str:
    """One for the process: Ray keeps the first that it has read."""
    return secrets.token_hex(32)


@contextmanager
def _by_a_short_name(folder: Path) -> Generator[Path]:
    """A link to a folder: what Ray writes stays on the disk that was chosen for it."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            short = tempfile.TemporaryDirectory(prefix="bm-", dir=_SHORT, ignore_cleanup_errors=True)
            link = Path(stack.enter_context(short)) / "ray"
            link.symlink_to(folder.absolute())
        except OSError as error:
            raise UsageError(
                f"{folder} is too long a name for Ray, whose sockets lie there, and {_SHORT} cannot be used "
                f"in its place ({error.strerror}); set RAY_TMPDIR to a folder with a short name."
            ) from error
        yield link
