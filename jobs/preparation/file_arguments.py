"""Files and folders named on the command line: local paths, suffixes, and publishing outputs whole."""

import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.pipeline.storage import Folder

T = TypeVar("T")


def suffix_of(place: str | Path) -> str:
    """Returns the lower-case suffix of a path or URI, such as ``.png``."""
    return PurePosixPath(place).suffix.lower()


def check_suffix(out: str | Path, wanted: tuple[str, ...]) -> None:
    """Raise UsageError unless ``out`` has one of the suffixes and a file can be there."""
    if suffix_of(out) not in wanted:
        raise UsageError(f"OUT {out} must end in {' or '.join(wanted)}.")
    _check_file(out)


def folder_of(path: str | Path) -> "tuple[Folder, str]":
    """Split a file's path or URI into its folder and its name."""
    from bitmill.pipeline.storage import Folder, normalise

    folder, _, name = normalise(str(path)).rpartition("/")
    return Folder(folder), name


def publish(out: str | Path, write: Callable[[Path], T]) -> T:
    """Write ``out`` atomically: ``write`` gets a staged path, and its result is returned.

    Raises UsageError, before anything is written, where no file can be.
    """
    _check_file(out)
    folder, name = folder_of(out)
    try:
        with folder.publishing(name) as staged:
            return write(staged.path)
    finally:
        folder.sweep_staging()


def local_path(given: str | Path) -> Path:
    """Typer parser of a local path. Raises UsageError for a URI of a remote store."""
    scheme, mark, _ = str(given).partition("://")
    if not mark or isinstance(given, Path):
        return Path(given)
    if scheme.lower() != "file":
        raise UsageError(
            f"{given} is on a remote store; give a local path here, and copy the file from or to it."
        )
    from bitmill.pipeline.storage import normalise

    return Path(normalise(given))


def out_file(given: str | Path) -> Path:
    """Typer parser of a local file to write. Raises UsageError where none can be."""
    return _free_for(local_path(given), folder=False)


def out_folder(given: str | Path) -> Path:
    """Typer parser of a local folder to write. Raises UsageError where none can be."""
    return _free_for(local_path(given), folder=True)


def _free_for(path: Path, *, folder: bool) -> Path:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another path.") from error
    if is_folder != folder:
        raise UsageError(f"{path} is a {'folder' if is_folder else 'file'}; choose another path.")
    return path


def _check_file(out: str | Path) -> None:
    from bitmill.pipeline.storage import is_local, normalise

    if is_local(uri := normalise(str(out))):
        out_file(uri)
