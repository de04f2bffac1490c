"""Opens the filesystem of a URI through fsspec, without caches of listings."""

from typing import Any

import fsspec

from bitmill.pipeline.storage.clients import open_client
from bitmill.pipeline.storage.uri import local_path

Filesystem = Any
"""fsspec's AbstractFileSystem, which is untyped."""


def filesystem(uri: str) -> tuple[Filesystem, str]:
    """The filesystem of a normalised URI, and the path within it.

    Listings are never cached, so that a check whether a commit exists always asks the store. Raises like
    ``open_client``.
    """
    if (local := local_path(uri)) is not None:
        return fsspec.filesystem("file"), local
    fs = open_client(uri.split("://", 1)[0])
    return fs, fs._strip_protocol(uri)
