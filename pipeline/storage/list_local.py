"""Listing a local disk: symbolic links are followed, once each, as a person browsing the folder would."""

import errno
import glob
import os
from pathlib import Path


def files_below(folder: str) -> list[str]:
    """Paths of all files below a folder, links to files and folders followed; a loop of links ends.

    A link that leads nowhere is listed too: what it should have led to is missing, not unwanted. So is a
    folder so deep that its path is longer than a disk takes, with a slash at its end. Raises OSError where
    another folder cannot be listed: what is in it must not go missing in silence.
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
        # Of two ways to one folder the first counts, so the order must not be the disk's.
        folders.sort()
        found.extend(f"{base}/{name}" for name in names)
    return found


def files_matching(pattern: str) -> list[str]:
    """Paths of the files that a glob matches; ``**`` matches folders of any depth."""
    return [path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()]  # noqa: PTH207
