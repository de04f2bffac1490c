"""Output files of commands, local or on a store: their suffixes, and publishing them whole."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.pipeline.storage import Folder

T = TypeVar("T")


def suffix_of(place: str | Path) -> str:
    """How the name of a file ends, its path or URI given: ``.png``."""
    return PurePosixPath(place).suffix.lower()


def check_suffix(out: str | Path, wanted: tuple[str, ...]) -> None:
    """Raise UsageError where ``out`` ends otherwise."""
    if suffix_of(out) not in wanted:
        raise UsageError(f"OUT {out} must end in {' or '.join(wanted)}.")


def folder_of(path: str | Path) -> "tuple[Folder, str]":
    """The folder that a file's path or URI is in, and its name there."""
    from bitmill.pipeline.storage import Folder, normalise

    folder, _, name = normalise(str(path)).rpartition("/")
    return Folder(folder), name


def publish(out: str | Path, write: Callable[[Path], T]) -> T:
    """``out`` appears whole, or not at all; gives what ``write`` gives."""
    folder, name = folder_of(out)
    try:
        with folder.publishing(name) as staged:
            return write(staged.path)
    finally:
        folder.sweep_staging()
