"""One spelling for each place: absolute local paths, and ``scheme://`` URIs for all else."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from bitmill.schemas.errors import BadJobError

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")

_SIGNED = re.compile(r"(?i)(^|&)(x-amz-\w+|x-goog-\w+|sig|signature|token|access_key|awsaccesskeyid)=")


def normalise(text: str) -> str:
    """The spelling under which a place is planned and stored: no trailing slash, local paths absolute.

    Raises BadJobError for an empty text, and for a URI with credentials in it: these would end up in every
    file that names the source.
    """
    if not text.strip():
        raise BadJobError("An empty path was given; name a folder, a file or a URI.")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if not _SCHEME.match(text):
        return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 - Path.resolve would follow links
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise BadJobError(
            f"The URI of host {parts.hostname!r} holds credentials; give these by the environment or a "
            "profile of the store, never in a URI."
        )
    if _SIGNED.search(parts.query):
        raise BadJobError(
            f"The URI of host {parts.hostname!r} is signed, and its signature is a credential that would be "
            "stored; name the object itself and give credentials by the environment."
        )
    return text.rstrip("/")


def is_local(uri: str) -> bool:
    """Whether a normalised URI is a path of this machine."""
    return not _SCHEME.match(uri)


def join(base: str, name: str) -> str:
    """A name below a normalised base."""
    return f"{base}/{name}"
