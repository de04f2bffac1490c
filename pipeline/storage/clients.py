"""Which package reads a store, and which stores bitmill writes to."""

import logging
from contextlib import suppress
from typing import Any

import fsspec

from bitmill.schemas.errors import UsageError

_EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "hf": "hf"}
"""The optional dependency that brings a scheme's package."""

_WRITABLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Stores that make an object visible whole or not at all."""


def open_client(scheme: str) -> Any:
    """A client that lists nothing from memory. Raises UsageError if no package reads the scheme, or its
    settings are wrong."""
    # These log each failure, with a traceback, before they raise it.
    for client in ("gcsfs", "azure"):
        logging.getLogger(client).setLevel(logging.CRITICAL)
    try:
        if scheme in ("gs", "gcs"):
            return _gcs_client()
        if scheme == "hf":
            _hide_progress_bars()
        client = fsspec.filesystem(scheme, use_listings_cache=False)
        if _EXTRAS.get(scheme) == "azure":
            _shorten_pauses(client)
        return client
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        what = f"install bitmill with its extra {extra!r} (docs/sources.md)" if extra else str(error)
        raise UsageError(f"No installed package reads {scheme}:// URIs; {what}.") from error
    except ValueError as error:
        if scheme in _EXTRAS:
            raise UsageError(f"The store of {scheme}:// URIs is not configured correctly: {error}") from error
        raise UsageError(f"No installed package reads {scheme}:// URIs ({error}).") from error


def refuse_writing(uri: str) -> None:
    """Raise UsageError if a URI's store does not publish files atomically."""
    scheme = uri.split("://", 1)[0].lower()
    if scheme == "hf":
        raise UsageError(
            f"{uri} cannot be an output: on the Hugging Face Hub each file would be a commit of its own; "
            "write to another store or a local folder, and upload the finished folder."
        )
    if "://" in uri and scheme not in _WRITABLE | {"file"}:
        raise UsageError(
            f"{uri} cannot be an output: bitmill does not know whether {scheme}:// shows a file only once it "
            "is whole; write to a local folder, s3://, gs:// or az://."
        )


def details_of(fs: Any, path: str) -> dict[str, Any]:
    """fsspec's ``info``, from the store and not from memory."""
    if fs.protocol == "hf" and fs.resolve_path(path).path:
        # Unless it is asked to expand, this client lists the whole folder of the file.
        return fs.info(path, refresh=True, expand_info=True)
    return fs.info(path)


def anew(fs: Any) -> dict[str, bool]:
    """Options with which a client lists from the store and not from memory."""
    return {"refresh": True} if fs.protocol == "hf" else {}


def _gcs_client() -> Any:
    """gcsfs without its extension for zonal buckets, which leaves their objects open to be appended to."""
    from gcsfs.core import GCSFileSystem

    return GCSFileSystem(use_listings_cache=False)


def _shorten_pauses(azure: Any) -> None:
    """Let a client of Azure repeat a call after 2, 4 and 8 s, and wait 5 s for a connection, as that of S3.

    By default it pauses for 18, 24 and 42 s and waits for 20 s, so that minutes pass until a store that is
    not there is reported. adlfs has no option for this; if Azure's internals change, a test fails, and the
    defaults apply again.
    """
    with suppress(AttributeError):
        config = azure.service_client._config
        retries = config.retry_policy
        retries.initial_backoff, retries.increment_base, retries.random_jitter_range = 0, 2, 1
        config.transport.connection_config.timeout = 5


def _hide_progress_bars() -> None:
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
