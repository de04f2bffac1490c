"""The door to fsspec: filesystems without listing caches, and foreign errors turned into ours."""

import errno
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import fsspec

from bitmill.pipeline.storage.uri import local_path
from bitmill.schemas.errors import BitmillError, InfrastructureError, TransientError, UsageError

Filesystem = Any
"""fsspec's AbstractFileSystem, which carries no types."""

T = TypeVar("T")

_ATTEMPTS = 4
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
NAMES_NOTHING = {
    errno.ELOOP: "its link leads back to itself",
    errno.ENAMETOOLONG: "its name is longer than a disk takes",
}
_SETTINGS_ERRORS = {
    "ProfileNotFound",
    "ConfigNotFound",
    "ConfigParseError",
    "InvalidConfigError",
    "NoRegionError",
    "ParamValidationError",
    "UnknownEndpointError",
}


def filesystem(uri: str) -> tuple[Filesystem, str]:
    """The filesystem of a normalised URI, and the path within it.

    Listings are never cached: whoever asks whether a commit exists asks the store. Raises UsageError for
    a scheme that no installed package serves.
    """
    if (local := local_path(uri)) is not None:
        return fsspec.filesystem("file"), local
    scheme = uri.split("://", 1)[0]
    try:
        fs = fsspec.filesystem(scheme, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise UsageError(f"No installed package reads {scheme}:// URIs ({error}).") from error
    return fs, fs._strip_protocol(uri)


@contextmanager
def store_errors(uri: str) -> Generator[None]:
    """Turn what stores raise into ours, naming ``uri``.

    FileNotFoundError, PermissionError, IsADirectoryError and NotADirectoryError pass; a link or name that can
    lead to nothing is a FileNotFoundError, a full disk an InfrastructureError; settings that cannot work are
    a UsageError, and anything else may pass by itself: a TransientError.
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
        name = type(error).__name__
        if any(word in name for word in ("Credential", "Token", "SSO")):
            raise PermissionError(errno.EACCES, "no valid credentials for this store", uri) from error
        if isinstance(error, ValueError) or name in _SETTINGS_ERRORS:
            raise UsageError(f"The store of {uri} is not set up right: {_brief(error)}") from error
        raise TransientError(f"The store failed at {uri}: {_brief(error)}") from error


@contextmanager
def full_disk_told(place: str) -> Generator[None]:
    """Turn a full disk into an InfrastructureError that names ``place``."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise InfrastructureError(
            f"No space left on the disk that holds {place}; free some and run the same command again."
        ) from error


def retrying(action: Callable[[], T]) -> T:
    """Run ``action``, again after a TransientError a few times, with jittered back-off."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return action()
        except TransientError:
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311 - jitter needs no secrecy
    return action()


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
