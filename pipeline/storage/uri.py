"""One spelling for each place: absolute local paths, and ``scheme://`` URIs for everything else."""

import os
import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

from bitmill.schemas.errors import UsageError

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")

_FILE = "file://"

_SIGNED = re.compile(r"(?i)(^|&)(x-amz-\w+|x-goog-\w+|sig|signature|token|access_key|awsaccesskeyid)=")


def normalise(text: str) -> str:
    """The spelling under which a place is planned and stored: no trailing slash, local paths absolute.

    A path that is not UTF-8, which no table can store, is spelled like pathlib does, ``file:///caf%E9.mp4``.
    Raises UsageError for an empty text, for one that cannot name anything, and for a URI with credentials,
    because these would end up in every file that names the source.
    """
    if not text.strip():
        raise UsageError("An empty path was given; name a folder, a file or a URI.")
    scheme, mark, rest = text.partition("://")
    # As a path, s3: would be a local folder, and nothing the current one; file:/// is the disk's root.
    if mark and _SCHEME.match(text) and not rest.strip("/") and (scheme.lower() != "file" or not rest):
        example = "/PATH" if scheme.lower() == "file" else "BUCKET/PATH"
        raise UsageError(f"{text} names no place; add one, like {scheme}://{example}.")
    if text[: len(_FILE)].lower() == _FILE:
        text = _path_of_file_uri(text[len(_FILE) :])
    if "\0" in text:
        raise UsageError("A path or URI contains a NUL character, which names cannot contain; remove it.")
    if not _SCHEME.match(text):
        # Path.resolve would follow links, and Path.expanduser raises for an unknown user.
        return spelled(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111
    try:
        parts = urlsplit(text)
    except ValueError as error:
        # The error's text may contain secrets.
        scheme = text.split("://", 1)[0]
        raise UsageError(
            f"The host or bucket of a {scheme}:// URI cannot be parsed: it contains brackets or other "
            "invalid characters."
        ) from error
    if parts.scheme in ("abfs", "abfss") and parts.username and not parts.password:
        raise UsageError(
            f"The URI of host {parts.hostname!r} names a container and its account; write "
            "az://CONTAINER/PATH, and name the account by AZURE_STORAGE_ACCOUNT_NAME."
        )
    if parts.username or parts.password:
        raise UsageError(
            f"The URI of host {parts.hostname!r} contains credentials; pass these by the environment or a "
            "profile of the store, never in a URI."
        )
    if _SIGNED.search(parts.query):
        raise UsageError(
            f"The URI of host {parts.hostname!r} is signed, and its signature is a credential that would "
            "be stored; name the object itself and pass credentials by the environment."
        )
    return text.rstrip("/")


def is_local(uri: str) -> bool:
    """True if a normalised URI is a local path, character by character."""
    return not _SCHEME.match(uri)


def local_path(uri: str) -> str | None:
    """The local path that a normalised URI names, None for one of another store."""
    if uri.startswith(_FILE):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE)))
    return uri if is_local(uri) else None


def spelled(path: str) -> str:
    """An absolute path as a normalised URI."""
    return path if _is_text(path) else _FILE + quote(os.fsencode(path))


def _path_of_file_uri(rest: str) -> str:
    """Decode the path after ``file://``, with percent escapes as pathlib writes them, e.g. ``%20``.

    If only a file with the undecoded name exists, percent signs included, that one is meant.
    """
    rest = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    meant = os.fsdecode(unquote_to_bytes(os.fsencode(rest)))
    if meant == rest or not _is_text(meant) or not os.path.lexists(rest):
        return meant
    if os.path.lexists(meant):
        raise UsageError(
            f"file://{rest} may name {meant} or {rest}, and both exist; write it as a path, not as a URI."
        )
    return rest


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def join(base: str, name: str) -> str:
    """A name below a normalised base."""
    return f"{base}/{name}"
