"""Reading foreign objects: listing them with their identity, and holding a checked local copy of one."""

import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.storage.filesystem import filesystem, retrying, store_errors
from pipeline.storage.uri import is_local
from schemas.errors import BadItemError, TransientError
from schemas.outcomes import Reason

_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """Identity of a stored object: where, how large, and the store's version tag of it."""

    uri: str
    size_bytes: int
    version: str


@dataclass(frozen=True, kw_only=True)
class StagedObject:
    """A foreign object as a local file."""

    path: str


def list_objects(pattern: str) -> Iterator[ObjectInfo]:
    """Objects of a normalised file, folder (all below it) or glob, sorted by URI.

    Raises FileNotFoundError where there is no such file or folder; a glob may match nothing.
    """
    if _GLOB_CHARACTERS & set(pattern):
        # An object whose very name holds a bracket or star is meant literally.
        literal = _try_stat(pattern)
        return iter([literal]) if literal else _globbed(pattern)
    fs, path = filesystem(pattern)
    with store_errors(pattern):
        kind = retrying(lambda: fs.info(path))["type"]
        if kind == "file":
            return iter([stat(pattern)])
        found: dict[str, dict[str, Any]] = retrying(lambda: fs.find(path, detail=True))
    return _infos(pattern, found)


def stat(uri: str) -> ObjectInfo:
    """Identity of one object, asked of the store.

    Raises FileNotFoundError, PermissionError, IsADirectoryError, TransientError.
    """
    fs, path = filesystem(uri)

    def ask() -> dict[str, Any]:
        with store_errors(uri):
            return fs.info(path)

    details = retrying(ask)
    if details["type"] == "directory":
        raise IsADirectoryError(f"{uri} is a folder")
    return _info(uri, details)


@contextmanager
def stage(expected: ObjectInfo) -> Generator[StagedObject]:
    """A local file with the bytes of a planned object, for the length of the block.

    A local object is used where it lies, another is copied to the temporary folder and removed after.
    Raises BadItemError: not_found, access_denied, source_changed (before, or while it was read), read_error.
    """
    uri = expected.uri
    try:
        _check_unchanged(expected)
        if is_local(uri):
            yield StagedObject(path=uri)
            return
        with tempfile.TemporaryDirectory(prefix="bitmill-") as folder:
            # The suffix stays, since some demuxers look at it.
            local = Path(folder) / f"source{Path(uri).suffix}"
            retrying(lambda: _download(uri, local))
            _check_unchanged(expected)
            yield StagedObject(path=str(local))
    except FileNotFoundError as error:
        raise BadItemError(Reason.NOT_FOUND, "no object is there any more") from error
    except PermissionError as error:
        raise BadItemError(Reason.ACCESS_DENIED, "the store refused to give the object") from error
    except TransientError as error:
        raise BadItemError(Reason.READ_ERROR, str(error)) from error


def _download(uri: str, local: Path) -> None:
    fs, path = filesystem(uri)
    with store_errors(uri):
        fs.get_file(path, str(local))


def _check_unchanged(expected: ObjectInfo) -> None:
    now = stat(expected.uri)
    if now != expected:
        differing = "size" if now.size_bytes != expected.size_bytes else "version"
        raise BadItemError(
            Reason.SOURCE_CHANGED,
            f"its {differing} is not the planned one any more; plan it again as a new source",
        )


def _globbed(pattern: str) -> Iterator[ObjectInfo]:
    fs, path = filesystem(pattern)
    with store_errors(pattern):
        found: dict[str, dict[str, Any]] = retrying(lambda: fs.glob(path, detail=True))
    return _infos(pattern, {name: info for name, info in found.items() if info["type"] == "file"})


def _infos(pattern: str, found: dict[str, dict[str, Any]]) -> Iterator[ObjectInfo]:
    prefix = "" if is_local(pattern) else pattern.split("://", 1)[0] + "://"
    for name in sorted(found):
        # A folder marker of an object store is an empty object whose name ends in a slash.
        if not name.endswith("/"):
            yield _info(prefix + name, found[name])


def _try_stat(uri: str) -> ObjectInfo | None:
    try:
        return stat(uri)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, TransientError):
        return None


def _info(uri: str, details: dict[str, Any]) -> ObjectInfo:
    if is_local(uri):
        status = os.stat(uri)  # noqa: PTH116 - fsspec gives the time as a float; nanoseconds tell more
        return ObjectInfo(uri=uri, size_bytes=status.st_size, version=f"mtime-{status.st_mtime_ns}")
    return ObjectInfo(uri=uri, size_bytes=int(details["size"] or 0), version=_version(details))


def _version(details: dict[str, Any]) -> str:
    """The store's tag of an object's content; its time, in whole seconds, where the store has no tags."""
    for name in ("ETag", "etag", "generation", "md5Hash"):
        if details.get(name):
            return str(details[name]).strip('"')
    for name in ("LastModified", "last_modified", "mtime", "created"):
        moment = details.get(name)
        if isinstance(moment, datetime):
            # Listings of one store give milliseconds where its single answers give seconds.
            return f"time-{int(moment.timestamp())}"
        if moment:
            return f"time-{moment}"
    return ""
