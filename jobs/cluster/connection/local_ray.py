"""Sets up a local Ray session: a token, and a folder whose path is short enough for sockets."""

import importlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ray.exceptions import RayError

from bitmill.jobs.cluster.connection.authentication import has_token
from bitmill.schemas.errors import UsageError

_MAX_FOLDER_BYTES = 107 - len("/session_2026-12-01_00-00-00_000000_4194304/sockets/plasma_store.00")
"""The kernel limits socket paths to 107 bytes, of which Ray appends this suffix to its folder."""

_SHORT = "/tmp"  # noqa: S108 - Ray's own default

_VARIABLE = "RAY_AUTH_TOKEN"

_UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start its autoscaler, its forwarding of logs, and its dashboard."""

_REGISTERED_S = 10.0
"""Time to wait for a node before Ray's own function waits for it, and gives up."""

_LOOK_S = 0.02


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

    They would take a fifth of a small job's CPU time and 300 MB. Of the node's agent only what Ray installed
    without its dashboard has is started: neither HTTP server nor metrics, for which raylet and driver would
    wait. Ray has no option for this; if its internals change, a test fails, and they start again.
    """
    node: Any = importlib.import_module("ray._private.node").Node
    with ExitStack() as stack:
        for name in _UNUSED_PROCESSES:
            _replace(stack, node, name, lambda _start: lambda *_args, **_options: None)
        utils = importlib.import_module("ray._private.utils")
        _replace(stack, utils, "get_dashboard_dependency_error", lambda _ask: lambda: ImportError("unused"))
        services = importlib.import_module("ray._private.services")
        _replace(stack, services, "get_node", _once_registered)
        yield


def _replace(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace an attribute by what ``make`` returns for it, until the stack is closed; if it exists."""
    if hasattr(owner, name):
        kept = getattr(owner, name)
        stack.callback(setattr, owner, name, kept)
        setattr(owner, name, make(kept))


def _once_registered(get_node: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Returns Ray's function, called once the node is there: itself, it looks once a second."""
    client_class: Any = importlib.import_module("ray._raylet").GcsClient

    def get_registered(gcs_address: str, node_id: str) -> Any:
        end = time.monotonic() + _REGISTERED_S
        # On a busy machine it may not answer in time; Ray's own function asks again.
        with suppress(RayError):
            client = client_class(address=gcs_address)
            while time.monotonic() < end:
                if any(node.hex() == node_id for node in client.get_all_node_info(timeout=_REGISTERED_S)):
                    break
                time.sleep(_LOOK_S)
        return get_node(gcs_address, node_id)

    return get_registered


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
