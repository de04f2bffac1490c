"""Output files of commands, local or on a store: checks suffixes and publishes atomically."""

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
    """Raise UsageError unless ``out`` has one of the suffixes."""
    if suffix_of(out) not in wanted:
        raise UsageError(f"OUT {out} must end in {' or '.join(wanted)}.")


def folder_of(path: str | Path) -> "tuple[Folder, str]":
    """Split a file's path or URI into its folder and its name."""
    from bitmill.pipeline.storage import Folder, normalise

    folder, _, name = normalise(str(path)).rpartition("/")
    return Folder(folder), name


def publish(out: str | Path, write: Callable[[Path], T]) -> T:
    """Write ``out`` atomically: ``write`` gets a staged path, and its result is returned."""
    folder, name = folder_of(out)
    try:
        with folder.publishing(name) as staged:
            return write(staged.path)
    finally:
        folder.sweep_staging()
