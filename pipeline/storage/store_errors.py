"""Converts what stores raise into bitmill's errors: absent, denied, full, set up wrongly, or temporary."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from bitmill.schemas.errors import BitmillError, InfrastructureError, TransientError, UsageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
NAMES_NOTHING = {
    errno.ELOOP: "symbolic links form a loop",
    errno.ENAMETOOLONG: "the name is too long for the disk",
}
_DENIED, _ABSENT = {401, 403}, 404
_CREDENTIALS = ("Credential", "Token", "SSO", "Authentication", "Signing")
"""Words in the names of errors of clients that find no credentials, or cannot use them."""
_SETTINGS_ERRORS = {
    "ProfileNotFound",
    "ConfigNotFound",
    "ConfigParseError",
    "InvalidConfigError",
    "NoRegionError",
    "ParamValidationError",
    "UnknownEndpointError",
}


@contextmanager
def store_errors(uri: str) -> Generator[None]:
    """Convert errors raised by stores into ours, naming ``uri``.

    FileNotFoundError, PermissionError, IsADirectoryError and NotADirectoryError pass unchanged; a link or
    name that cannot resolve becomes a FileNotFoundError, a full disk an InfrastructureError, invalid settings
    a UsageError, and anything else, which may be temporary, a TransientError.
    """
    try:
        with full_disk_told(uri):
            yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, BitmillError):
        raise
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NAMES_NOTHING:
            raise FileNotFoundError(error.errno, NAMES_NOTHING[error.errno], uri) from error
        name, status = type(error).__name__, _status(error)
        if status in _DENIED or any(word in name for word in _CREDENTIALS):
            raise PermissionError(errno.EACCES, "no valid credentials for this store", uri) from error
        if status == _ABSENT:
            raise FileNotFoundError(errno.ENOENT, "no such object", uri) from error
        if isinstance(error, ValueError) or name in _SETTINGS_ERRORS:
            raise UsageError(f"The store of {uri} is not configured correctly: {_brief(error)}") from error
        raise TransientError(f"The store failed at {uri}: {_brief(error)}") from error


@contextmanager
def full_disk_told(place: str) -> Generator[None]:
    """Convert a full disk into an InfrastructureError that names ``place``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise InfrastructureError(
            f"No space left on the disk of {place}; free some and run the same command again."
        ) from error


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error of azure-core, gcsfs or huggingface_hub."""
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):
        return 403  # gcsfs says it in words
    for told in (getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(told, int):
            return told
    return getattr(getattr(error, "response", None), "status_code", None)


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
