"""Sets up a local Ray session: a token, and a folder whose path is short enough for sockets."""

import importlib
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
"""The kernel limits socket paths to 107 bytes, of which Ray appends this suffix to its folder."""

_SHORT = "/tmp"  # noqa: S108 - Ray's own default

_VARIABLE = "RAY_AUTH_TOKEN"

_UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start its autoscaler, its forwarding of logs, and its dashboard."""


@contextmanager
def place_for_ray() -> Generator[dict[str, Any]]:
    """Yield options of ``ray.init`` for a session that ends before the block does.

    Raises UsageError if the folder's path is too long and a shorter link cannot be created.
    """
    with ExitStack() as stack:
        if not has_token():
            stack.enter_context(_own_token())
        folder = _ray_folder()
        if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
            folder = stack.enter_context(_by_a_short_name(folder))
        yield {"_temp_dir": str(folder)}


@contextmanager
def no_unused_processes() -> Generator[None]:
    """In the block, a head node starts without autoscaler, log monitor and dashboard, which no job needs.

    They would take a fifth of a small job's CPU time and 300 MB. Ray has no option for this; if its
    internals change, a test fails, and they start again.
    """
    node: Any = importlib.import_module("ray._private.node").Node
    kept = {name: getattr(node, name) for name in _UNUSED_PROCESSES if hasattr(node, name)}
    for name in kept:
        setattr(node, name, lambda *_args, **_options: None)
    try:
        yield
    finally:
        for name, start in kept.items():
            setattr(node, name, start)


def _ray_folder() -> Path:
    """Returns the folder of Ray's sessions, from the variables that Ray reads; empty ones count as unset."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or _SHORT) / "ray"


@contextmanager
def _own_token() -> Generator[None]:
    """Set a token for this session only: Ray would write one to the home folder, which may be read-only."""
    os.environ[_VARIABLE] = _token()
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


@cache
def _token() -> str:
    """Returns one token per process: Ray caches the first that it reads."""
    return secrets.token_hex(32)


@contextmanager
def _by_a_short_name(folder: Path) -> Generator[Path]:
    """Yield a short link to a folder, so that Ray still writes to the chosen disk."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            short = tempfile.TemporaryDirectory(prefix="bm-", dir=_SHORT, ignore_cleanup_errors=True)
            link = Path(stack.enter_context(short)) / "ray"
            link.symlink_to(folder.absolute())
        except OSError as error:
            raise UsageError(
                f"{folder} is too long a path for Ray's sockets, and {_SHORT} cannot be used instead "
                f"({error.strerror}); set RAY_TMPDIR to a folder with a short path."
            ) from error
        yield link
