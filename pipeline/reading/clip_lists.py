"""Reads lists of clip ids, one per line, such as the duplicates found by an audit."""

import re
from pathlib import Path

from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.errors import UsageError
from bitmill.schemas.text_files import read_text

CLIP_ID = re.compile(r"[0-9a-f]{32}")


def clip_ids_in(path: str | Path) -> list[str]:
    """Read the clip ids from a text file, one per line, for a ``ClipFilter``; local or on any store.

    Skips empty lines. Raises UsageError if the file is missing or a line is not a clip id.
    """
    folder, _, name = normalise(str(path)).rpartition("/")
    try:
        data = Folder(folder or "/").read_bytes(name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"There is no list of clips at {folder}/{name}.") from error
    found: list[str] = []
    for number, line in enumerate(read_text(data, what=f"{folder}/{name}").splitlines(), 1):
        if not (text := line.strip()):
            continue
        if not CLIP_ID.fullmatch(text):
            raise UsageError(f"Line {number} of {folder}/{name} is not a clip id (32 hex digits).")
        found.append(text)
    return found
