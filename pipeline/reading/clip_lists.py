"""Lists of clip ids, one a line: such as the duplicates that an audit found."""

import re
from pathlib import Path

from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.errors import UsageError
from bitmill.schemas.text_files import read_text

_CLIP_ID = re.compile(r"[0-9a-f]{32}")


def clip_ids_in(path: str | Path) -> list[str]:
    """The ids that a text file holds, one a line, for a ``ClipFilter``; local or on any store.

    Empty lines are passed over. Raises UsageError where there is no such file, or a line is no clip id.
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
        if not _CLIP_ID.fullmatch(text):
            raise UsageError(f"Line {number} of {folder}/{name} is no clip id (32 hex digits).")
        found.append(text)
    return found
