"""Reads source objects: lists them with their identity, and stages a verified local copy."""

import errno
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bitmill.pipeline.storage.clients import anew, details_of
from bitmill.pipeline.storage.filesystem import Filesystem, filesystem
from bitmill.pipeline.storage.list_local import files_below, files_matching
from bitmill.pipeline.storage.list_pages import files_in_pages, gives_pages
from bitmill.pipeline.storage.retries import retrying
from bitmill.pipeline.storage.staging_space import Room, StagingSpace
from bitmill.pipeline.storage.store_errors import NAMES_NOTHING, full_disk_told, store_errors
from bitmill.pipeline.storage.uri import is_local, local_path, spelled
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError, TransientError
from bitmill.schemas.outcomes import Reason

_READ_AT_ONCE_BYTES = 8 << 20
"""Objects up to this size are read with one request; larger ones are streamed to the disk."""

_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """Identity of a stored object: URI, size, and the store's version tag."""

    uri: str
    size_bytes: int
    version: str

    @classmethod
    def of(cls, source: PlannedSource) -> "ObjectInfo":
        """The object that a source was planned from."""
        return cls(uri=source.uri, size_bytes=source.size_bytes, version=source.version)


@dataclass(frozen=True, kw_only=True)
class StagedObject:
    """A source object as a local file."""

    path: str
    room: Room | None = None
    """Set if it is a copy."""

    def moved(self) -> None:
        """Renew the copy's reservation; call it now and then during long reads."""
        if self.room is not None:
            self.room.moved()


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a path names: one file, all files below a folder, or the matches of a glob."""

    kind: Literal["file", "folder", "glob"]
    objects: tuple[ObjectInfo, ...]
    """Sorted by URI."""


def list_objects(path: str, *, prefer_folder: bool = False) -> Listing:
    """List a normalised file, folder or glob; a name that exists is taken literally, even with stars.

    On an object store, a file and a folder may share one name: the folder is listed if ``prefer_folder`` is
    set, or if the file is empty, because many tools mark folders with empty files. Raises FileNotFoundError
    if the file or folder does not exist; a glob may match nothing.
    """
    fs, inner = filesystem(path)

    def ask() -> Listing:
        with store_errors(path):
            found = _info(fs, inner)
            if found and found["type"] == "directory":
                return Listing(kind="folder", objects=_below(fs, path, inner))
            if found and local_path(path) is None and (prefer_folder or found["size"] == 0):
                below = _below_if_any(fs, path, inner)
                if below:
                    return Listing(kind="folder", objects=below)
            if found and found["type"] in ("file", "other"):
                return Listing(kind="file", objects=(stat(path),))
            if not _GLOB_CHARACTERS & set(inner):
                raise FileNotFoundError(errno.ENOENT, "no such file or folder", path)
            return Listing(kind="glob", objects=_matching(fs, path, inner))

    return retrying(ask)


def _info(fs: Filesystem, inner: str) -> dict[str, Any] | None:
    try:
        return details_of(fs, inner)
    except (FileNotFoundError, NotADirectoryError):
        return None


def stat(uri: str) -> ObjectInfo:
    """Identity of one object, according to the store.

    Raises FileNotFoundError, PermissionError, IsADirectoryError, TransientError.
    """
    fs, path = filesystem(uri)

    def ask() -> dict[str, Any]:
        with store_errors(uri):
            return details_of(fs, path)

    details = retrying(ask)
    if details["type"] == "directory":
        raise IsADirectoryError(f"{uri} is a folder")
    local = local_path(uri)
    if local is None:
        return _remote_info(uri, details)
    with store_errors(uri):
        return _local_info(local)


@contextmanager
def room_for(expected: ObjectInfo, *, limit_bytes: int | None = None) -> Generator[Room | None]:
    """Reserve room on this machine for a copy of an object during the block; None if no copy is needed.

    Waits for it without a timeout, by ``staging_rules``. All copies of this user on this machine take at most
    ``limit_bytes``; None derives the limit from the disk. Raises InfrastructureError if copies cannot be
    stored.
    """
    if is_local(expected.uri):
        yield None
        return
    suffix = Path(expected.uri).suffix
    with StagingSpace().room(expected.size_bytes, limit_bytes=limit_bytes, suffix=suffix) as room:
        yield room


def sweep_copies() -> None:
    """Remove what killed readers left in this machine's staging folder."""
    StagingSpace().sweep()


@contextmanager
def stage(
    expected: ObjectInfo, *, room: Room | None = None, limit_bytes: int | None = None
) -> Generator[StagedObject]:
    """A local file with the bytes of a planned object, for the duration of the block.

    A local object is used in place and checked again after the block; any other is copied into ``room``,
    where it stays for the next span of the same object, or into a new one limited by ``limit_bytes``. Passes
    on the block's errors. Raises BadItemError: not_found, access_denied, not_media for anything but a
    regular file, source_changed (before or while reading), read_error; InfrastructureError if the temporary
    folder's disk is full, and like ``room_for``.
    """
    local = local_path(expected.uri)
    if local is not None:
        with _item_faults():
            _check_unchanged(expected)
            if not Path(local).is_file():
                raise BadItemError(Reason.NOT_MEDIA, "It is a pipe, socket or device, not a regular file.")
    if is_local(expected.uri):
        yield StagedObject(path=expected.uri)
        with _item_faults():
            _check_unchanged(expected)
        return
    with nullcontext(room) if room is not None else room_for(expected, limit_bytes=limit_bytes) as place:
        assert place is not None
        if place.holds != expected:
            place.holds = None
            with _item_faults():
                _check_unchanged(expected)
                retrying(lambda: _copy(expected, Path(place.path)))
                _check_unchanged(expected)
            place.holds = expected
        yield StagedObject(path=place.path, room=place)


@contextmanager
def _item_faults() -> Generator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        why = f": {NAMES_NOTHING[error.errno]}" if error.errno in NAMES_NOTHING else ""
        raise BadItemError(Reason.NOT_FOUND, f"There is no object with this name{why}.") from error
    except PermissionError as error:
        raise BadItemError(Reason.ACCESS_DENIED, "The store denied access to the object.") from error
    except TransientError as error:
        raise BadItemError(Reason.READ_ERROR, str(error)) from error


def _copy(expected: ObjectInfo, local: Path) -> None:
    """Copy into an existing file without replacing it: its owner's lock is on that file."""
    fs, path = filesystem(expected.uri)
    with store_errors(expected.uri), full_disk_told(str(local.parent)):
        if expected.size_bytes > _READ_AT_ONCE_BYTES:
            fs.get_file(path, str(local))
        elif expected.size_bytes:
            # Given the end, a client need not request the size first.
            local.write_bytes(fs.cat_file(path, start=0, end=expected.size_bytes))
    # Not every store's client notices a truncated response.
    got = local.stat().st_size
    if got != expected.size_bytes:
        _check_unchanged(expected)
        raise TransientError(f"The store returned {got} of {expected.size_bytes} bytes of {expected.uri}.")


def _check_unchanged(expected: ObjectInfo) -> None:
    now = stat(expected.uri)
    if now != expected:
        differing = "size" if now.size_bytes != expected.size_bytes else "version"
        raise BadItemError(
            Reason.SOURCE_CHANGED,
            f"Its {differing} has changed since planning; plan it again as a new source.",
        )


def _below_if_any(fs: Filesystem, path: str, inner: str) -> tuple[ObjectInfo, ...]:
    try:
        return _below(fs, path, inner)
    except FileNotFoundError:
        return ()


def _below(fs: Filesystem, path: str, inner: str) -> tuple[ObjectInfo, ...]:
    if local_path(path) is not None:
        return _local_infos(files_below(inner))
    if gives_pages(fs):
        scheme = path.split("://", 1)[0]
        found = (_remote_info(f"{scheme}://{name}", entry) for name, entry in files_in_pages(fs, inner, path))
        return tuple(sorted(found, key=lambda info: info.uri))
    return _remote_infos(path, fs.find(inner, detail=True, **anew(fs)))


def _matching(fs: Filesystem, pattern: str, inner: str) -> tuple[ObjectInfo, ...]:
    if local_path(pattern) is not None:
        return _local_infos(files_matching(inner))
    return _remote_infos(pattern, fs.glob(inner, detail=True, **anew(fs)))


def _remote_infos(path: str, found: dict[str, dict[str, Any]]) -> tuple[ObjectInfo, ...]:
    scheme = path.split("://", 1)[0]
    return tuple(
        _remote_info(f"{scheme}://{name}", found[name])
        for name in sorted(found)
        # An object store's folder marker is an empty object whose name ends in a slash.
        if found[name]["type"] == "file" and not name.endswith("/")
    )


def _local_infos(paths: Iterable[str]) -> tuple[ObjectInfo, ...]:
    """Identities of local paths; broken links get placeholders, whose outcome later reports the problem."""

    def info(path: str) -> ObjectInfo:
        try:
            return _local_info(path)
        except PermissionError:
            return ObjectInfo(uri=spelled(path), size_bytes=0, version="denied")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, *NAMES_NOTHING):
                raise
            return ObjectInfo(uri=spelled(path), size_bytes=0, version="missing")

    return tuple(sorted(map(info, paths), key=lambda one: one.uri))


def _local_info(path: str) -> ObjectInfo:
    status = os.stat(path)  # noqa: PTH116 - fsspec gives the time as a float; nanoseconds tell more
    return ObjectInfo(uri=spelled(path), size_bytes=status.st_size, version=f"mtime-{status.st_mtime_ns}")


def _remote_info(uri: str, details: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        uri=uri, size_bytes=int(details.get("size") or details.get("Size") or 0), version=_version(details)
    )


def _version(details: dict[str, Any]) -> str:
    """The store's tag of an object's content; without tags, its modification time in whole seconds.

    GCS also has an ETag, which changes with the metadata; the Hugging Face Hub has hashes of content.
    """
    for name in ("generation", "ETag", "etag", "blob_id", "xet_hash", "md5Hash"):
        if details.get(name):
            return str(details[name]).strip('"')
    for name in ("LastModified", "last_modified", "mtime", "created"):
        moment = details.get(name)
        if isinstance(moment, datetime):
            # One store's listings return milliseconds where its single-object answers return seconds.
            return f"time-{int(moment.timestamp())}"
        if moment:
            return f"time-{moment}"
    return ""
