"""Lists a local disk; follows symbolic links, each folder once."""

import errno
import glob
import os
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
    """Paths of the files that match a glob; ``**`` matches folders of any depth."""
    return [path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()]  # noqa: PTH207
