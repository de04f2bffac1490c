"""Takedowns as the command does them, and folders that give out in the middle."""

import json
from collections.abc import Iterator
from pathlib import Path

from bitmill.pipeline.removing.removal_records import Record
from bitmill.pipeline.removing.run_removal import Request, finish_removals, propose, remove
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.reading_index import CLIP_INDEX_FILE, INDEX_FILE
from bitmill.schemas.dataset.removal import REMOVAL_FOLDER, RemovedSource


class GivesOutError(BaseException):
    """The machine went: nothing catches it, as nothing catches a kill."""


class GivesOut(Folder):
    """A folder that gives out before the change of this number."""

    def __init__(self, uri: str, at: int) -> None:
        super().__init__(uri)
        self._left = at

    def _count(self) -> None:
        if not self._left:
            raise GivesOutError
        self._left -= 1

    def _publish(self, staged: Path, name: str) -> None:
        self._count()
        super()._publish(staged, name)

    def remove(self, name: str) -> None:
        self._count()
        super().remove(name)


def asked(*sources: str, clips: tuple[str, ...] = (), key: str | None = None) -> Request:
    """A request for sources, or a member, and clips."""
    return Request(
        sources=tuple(RemovedSource(uri=uri, key=key) for uri in sources), clips=clips, reason="asked by mail"
    )


def take_down(folder: Folder, request: Request) -> Record | None:
    """What ``bitmill remove`` does, killed before or not; null where nothing was left to do."""
    finish_removals(folder)
    proposal = propose(folder, request)
    return None if proposal.is_done else remove(folder, proposal)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file but readers' indexes, by relative name; records without their date."""
    return {
        str(path.relative_to(folder)): _undated(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (INDEX_FILE, CLIP_INDEX_FILE)
    }


def _undated(path: Path) -> bytes:
    if path.parent.name != REMOVAL_FOLDER:
        return path.read_bytes()
    return json.dumps(json.loads(path.read_text()) | {"removed_on": None}).encode()


def holding(folder: Path, text: str) -> Iterator[str]:
    """Files, records aside, in whose bytes a text stands; compressed pages are read, too."""
    import pyarrow.parquet as pq

    for path in folder.rglob("*"):
        if not path.is_file() or path.parent.name == REMOVAL_FOLDER:
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += repr(pq.read_table(path).to_pydict()).encode()
        if text.encode() in data:
            yield str(path.relative_to(folder))
