"""The door to fsspec: filesystems without listing caches, and foreign errors turned into ours."""

import errno
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import fsspec

from pipeline.storage.uri import is_local
from schemas.errors import BadJobError, BitmillError, InfrastructureError, TransientError

Filesystem = Any
"""fsspec's AbstractFileSystem, which carries no types."""

T = TypeVar("T")

_ATTEMPTS = 4
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_TRANSIENT_NAMES = {
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ReadTimeoutError",
    "ResponseParserError",
    "ResponseStreamingError",
}


def filesystem(uri: str) -> tuple[Filesystem, str]:
    """The filesystem of a normalised URI, and the path within it.

    Listings are never cached: whoever asks whether a commit exists asks the store. Raises BadJobError for
    a scheme that no installed package serves.
    """
    if is_local(uri):
        return fsspec.filesystem("file"), uri
    scheme = uri.split("://", 1)[0]
    try:
        fs = fsspec.filesystem(scheme, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise BadJobError(f"No installed package reads {scheme}:// URIs ({error}).") from error
    return fs, fs._strip_protocol(uri)


@contextmanager
def store_errors(uri: str) -> Generator[None]:
    """Turn what stores raise into ours, naming ``uri``.

    FileNotFoundError, PermissionError, IsADirectoryError and NotADirectoryError pass; a full disk is an
    InfrastructureError; anything else that a network or store may do better next time is a TransientError.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, BitmillError):
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise InfrastructureError(
                f"No space left on the disk that holds {uri}; free some and run the same command again."
            ) from error
        raise TransientError(f"The store failed at {uri}: {_brief(error)}") from error
    except Exception as error:
        name = type(error).__name__
        if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
            raise PermissionError(errno.EACCES, "no credentials were found for this store", uri) from error
        if name in _TRANSIENT_NAMES or name == "FileExpired":
            raise TransientError(f"The store failed at {uri}: {_brief(error)}") from error
        raise


def retrying(action: Callable[[], T], *, attempts: int = _ATTEMPTS) -> T:
    """Run ``action``, again after a TransientError, at most ``attempts`` times, with jittered back-off."""
    for attempt in range(1, attempts):
        try:
            return action()
        except TransientError:
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311 - jitter needs no secrecy
    return action()


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
