"""Error messages for Ray's token authentication. This module neither reads nor prints tokens."""

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from bitmill.schemas.errors import UsageError

_REMEDY = (
    "set RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token, into the file at "
    "RAY_AUTH_TOKEN_PATH, or into RAY_AUTH_TOKEN."
)


def token_error(where: str) -> UsageError:
    """Returns the error for a cluster that rejects this process because the token is missing or wrong."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return UsageError(f"Ray on {where} requires a token: {_REMEDY}")
    if has_token():
        return UsageError(f"Ray on {where} rejects the token that is set here; {_REMEDY}")
    return UsageError(f"RAY_AUTH_MODE is token, but there is no token for Ray on {where}: {_REMEDY}")


def tells_of_token(text: str) -> bool:
    """Whether an error message of Ray's is about a missing or wrong token."""
    return "InvalidAuthToken" in text or "Unauthenticated" in text


@contextmanager
def hushed() -> Generator[Callable[[], str]]:
    """Capture output of Ray's C++ code, which writes to file descriptor 2 directly.

    Yields a function that returns the text written in the block so far.
    """
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)

        def text() -> str:
            size = os.fstat(written.fileno()).st_size
            return os.pread(written.fileno(), min(size, 1 << 20), 0).decode(errors="replace")

        try:
            yield text
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def has_token() -> bool:
    """Whether a token is set in one of the places that Ray reads."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    # Path.expanduser raises if the user has no home.
    path = os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token")  # noqa: PTH111
    try:
        return Path(path).stat().st_size > 0
    except OSError:
        return False
