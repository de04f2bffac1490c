"""A folder of our own on any store, whose files are published atomically."""

import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from bitmill.pipeline.storage.clients import refuse_writing
from bitmill.pipeline.storage.filesystem import filesystem
from bitmill.pipeline.storage.retries import retrying
from bitmill.pipeline.storage.store_errors import full_disk_told, store_errors
from bitmill.pipeline.storage.temporary_folders import (
    owner_is_dead,
    owner_name,
    scratch_folder,
    sweep_scratch,
)
from bitmill.pipeline.storage.uri import is_local, join, normalise
from bitmill.schemas.errors import InfrastructureError, TransientError, UsageError

STAGING_FOLDER = ".staging"
_STALE_AFTER_S = 24 * 3600

T = TypeVar("T")


class StagedFile:
    """A file being written before it is published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = False

    def drop(self) -> None:
        """Do not publish when the block ends."""
        self.dropped = True


class Folder:
    """A folder named by a path or URI; keeps no connection and pickles by its URI.

    Files are written to a staged copy first: on a local disk a file in ``.staging/`` that is flushed and
    renamed, elsewhere a local temporary file that is uploaded as one object. So a reader never sees a partial
    file, and a second writer of the same bytes does no harm.
    """

    def __init__(self, uri: str) -> None:
        self.uri = normalise(uri)

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def read_bytes(self, name: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError, PermissionError, TransientError."""
        return self._ask(name, lambda fs, path: fs.cat_file(path))

    def exists(self, name: str) -> bool:
        """True if a file or folder of this name exists now, according to the store."""
        return self._ask(name, lambda fs, path: fs.exists(path))

    def open(self, name: str) -> BinaryIO:
        """A seekable binary file for reading ranges; the caller closes it."""
        uri = join(self.uri, name)
        if is_local(uri):
            return Path(uri).open("rb")
        return self._ask(name, lambda fs, path: cast(BinaryIO, fs.open(path, "rb", cache_type="none")))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of a file, in one request. Raises like ``read_bytes``."""
        return self._ask(name, lambda fs, path: fs.cat_file(path, start=start, end=end))

    def list_names(self, below: str) -> list[str]:
        """Sorted names of the files directly in a subfolder; empty if it does not exist."""

        def ask(fs: Any, path: str) -> list[str]:
            try:
                entries: list[dict[str, Any]] = fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
            return sorted(entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

        return self._ask(below, ask)

    def top_names(self) -> set[str]:
        """Names of the files and folders directly in the folder; empty if it does not exist.

        Staged leftovers do not count. Raises NotADirectoryError if the folder's path is a file.
        """

        def ask(fs: Any, path: str) -> set[str]:
            try:
                entries: list[dict[str, Any]] = fs.ls(path, detail=True)
            except FileNotFoundError:
                return set()
            if any(entry["name"] == path and entry["type"] == "file" and entry["size"] for entry in entries):
                raise NotADirectoryError(f"{self.uri} is a file")
            # Some object stores list an empty object with the folder's own name.
            inside = [entry["name"].rstrip("/") for entry in entries if entry["name"].rstrip("/") != path]
            return {name.rsplit("/", 1)[-1] for name in inside} - {STAGING_FOLDER}

        return self._ask("", ask)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Publish ``data`` under ``name``, replacing an existing file."""
        with self.publishing(name) as staged:
            staged.path.write_bytes(data)

    @contextmanager
    def publishing(self, name: str) -> Generator["StagedFile"]:
        """A local path to write; when the block ends normally, the file is published under ``name``.

        If the block raises or drops the file, nothing is published and the staged file is deleted. Raises
        UsageError if the folder is not writable, InfrastructureError if the disk is full or the store does
        not respond; passes on the block's errors.
        """
        refuse_writing(self.uri)
        with ExitStack() as stack:
            with self._write_errors():
                folder = self._staging(stack)
            # The process's name in the file's name tells a later run whether its owner is still alive.
            staged = StagedFile(folder / f"{owner_name()}-{secrets.token_hex(4)}")
            try:
                with full_disk_told(self.uri if is_local(self.uri) else str(folder.parent)):
                    yield staged
                if not staged.dropped:
                    with self._write_errors():
                        self._publish(staged.path, name)
            finally:
                with suppress(OSError):
                    staged.path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Delete a file if it exists. Raises UsageError if that is not allowed."""
        refuse_writing(self.uri)

        def delete(fs: Any, path: str) -> None:
            with suppress(FileNotFoundError):
                fs.rm_file(path)

        self._ask(name, delete)

    def sweep_staging(self) -> None:
        """Remove files left by killed writers of this machine.

        Those are in ``.staging/``, where anything a day old is removed too; for a folder on another store,
        they are among the machine's temporary files.
        """
        sweep_scratch()
        if not is_local(self.uri):
            return
        folder = Path(self.uri) / STAGING_FOLDER
        for path in folder.glob("*") if folder.is_dir() else ():
            with suppress(OSError):
                dead = owner_is_dead(path.name.rpartition("-")[0])
                if dead or time.time() - path.stat().st_mtime > _STALE_AFTER_S:
                    path.unlink()
        with suppress(OSError):
            folder.rmdir()

    def _staging(self, stack: ExitStack) -> Path:
        if not is_local(self.uri):
            return stack.enter_context(scratch_folder())
        folder = Path(self.uri) / STAGING_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _publish(self, staged: Path, name: str) -> None:
        if is_local(self.uri):
            target = Path(self.uri) / name
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            _sync_folder(target.parent)
            return

        def put(fs: Any, path: str) -> None:
            fs.put_file(str(staged), path)
            if fs.info(path)["size"] != staged.stat().st_size:
                raise TransientError(f"The size of {path} differs from that of the uploaded data.")

        self._ask(name, put)

    def _ask(self, name: str, action: Callable[[Any, str], T]) -> T:
        uri = join(self.uri, name) if name else self.uri
        fs, path = filesystem(uri)

        def attempt() -> T:
            with store_errors(uri):
                return action(fs, path)

        try:
            return retrying(attempt)
        except PermissionError as error:
            raise UsageError(f"No permission for {uri}; check your access rights or credentials.") from error

    @contextmanager
    def _write_errors(self) -> Generator[None]:
        try:
            with store_errors(self.uri):
                yield
        except PermissionError as error:
            raise UsageError(
                f"No permission to write to {self.uri}; choose another output or change its permissions."
            ) from error
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            why = (
                "a part of that path does not exist or is not a folder."
                if is_local(self.uri)
                else "there is no such bucket; create it, or choose another output."
            )
            raise UsageError(f"Cannot write to {self.uri}: {why}") from error
        except TransientError as error:
            raise InfrastructureError(f"{error} Run the same command again to resume.") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
