"""Lists a local disk; follows symbolic links, each folder once."""

import errno
import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path


def files_below(folder: str) -> list[str]:
    """Paths of all files below a folder, following links to files and folders; link loops terminate.

    Broken links are listed too, because their targets are missing rather than unwanted. So is a folder whose
    path is longer than the disk allows, with a trailing slash. Raises OSError if any other folder cannot be
    listed, so that its files do not go missing silently.
    """
    found: list[str] = []

    def unlisted(error: OSError) -> None:
        if error.errno != errno.ENAMETOOLONG or error.filename == folder:
            raise error
        found.append(f"{error.filename}/")

    seen: set[tuple[int, int]] = set()
    for base, folders, names in os.walk(folder, followlinks=True, onerror=unlisted):
        status = Path(base).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # If two paths lead to one folder the first counts, so the order must not depend on the disk.
        folders.sort()
        found.extend(f"{base}/{name}" for name in names)
    return found


def files_matching(pattern: str) -> list[str]:
    """Paths of the files that match a glob; ``**`` matches folders of any depth.

    Follows links to folders, but not back to a folder on the way to them. Wildcards match no hidden names.
    Broken links are listed. Raises OSError if a folder cannot be listed.
    """
    if pattern.endswith("/"):
        return []
    every = [*pattern.strip("/").split("/"), "*"]
    parts = [part for part, after in pairwise(every) if part != "**" or after != "**"]
    parts += ["*"] if parts[-1] == "**" else []
    start = "/" if pattern.startswith("/") else ""
    return [path for path in dict.fromkeys(_expand(start, parts, ())) if not Path(path).is_dir()]


def _expand(base: str, parts: Sequence[str], above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield what ``parts`` match below ``base``; ``above`` are those that the last ``**`` entered."""
    if not parts:
        yield base
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        status = Path(base or ".").stat()
        here = (status.st_dev, status.st_ino)
        if here not in above:
            yield from _expand(base, rest, ())
            for name in _folders_in(base):
                yield from _expand(f"{base}{name}/", parts, (*above, here))
        return
    # A plain name needs no listing of its folder, which may not be allowed.
    is_listed = glob.has_magic(first)
    for name in _names_in(base, first) if is_listed else [first]:
        path = base + name
        if not rest and (is_listed or os.path.lexists(path)):
            yield path
        elif rest and Path(path).is_dir():
            yield from _expand(f"{path}/", rest, ())


def _folders_in(folder: str) -> list[str]:
    with os.scandir(folder or ".") as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _names_in(folder: str, pattern: str) -> list[str]:
    names = os.listdir(folder or ".")  # noqa: PTH208
    if not pattern.startswith("."):
        names = [name for name in names if not name.startswith(".")]
    return sorted(fnmatch.filter(names, pattern))
