"""Ray's token authentication: what to say where a token is missing or wrong. None is read or told here."""

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from bitmill.schemas.errors import UsageError

_REMEDY = (
    "set RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token, in a file that "
    "RAY_AUTH_TOKEN_PATH names, or in RAY_AUTH_TOKEN."
)


def token_error(where: str) -> UsageError:
    """The sentence for a cluster that does not let this process in for want of the right token."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return UsageError(f"Ray on {where} asks for a token: {_REMEDY}")
    if has_token():
        return UsageError(f"Ray on {where} refuses the token that is set here; {_REMEDY}")
    return UsageError(f"RAY_AUTH_MODE is token, but there is no token for Ray on {where}: {_REMEDY}")


def tells_of_token(text: str) -> bool:
    """Whether a message of Ray's is about a missing or wrong token."""
    return "InvalidAuthToken" in text or "Unauthenticated" in text


@contextmanager
def hushed() -> Generator[Callable[[], str]]:
    """Keep Ray's C++ part, which writes to file descriptor 2 itself, from the terminal.

    Gives a function for what was written in the block so far.
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
    """Whether a token is set where Ray looks for one."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    # Path.expanduser raises where the user has no home.
    path = os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token")  # noqa: PTH111
    try:
        return Path(path).stat().st_size > 0
    except OSError:
        return False
