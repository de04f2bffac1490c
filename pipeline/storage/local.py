"""Listing a local disk: symbolic links are followed, once each, as a person browsing the folder would."""

import glob
import os
from pathlib import Path


def files_below(folder: str) -> list[str]:
    """Paths of all files below a folder, links to files and folders followed; a loop of links ends.

    A link that leads nowhere is listed too: what it should have led to is missing, not unwanted. Raises
    OSError where a folder cannot be listed: what is in it must not go missing in silence.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for base, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
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


def _raise(error: OSError) -> None:
    raise error
