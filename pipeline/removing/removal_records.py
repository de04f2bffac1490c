"""Lists, reads and publishes the removal records in a dataset's folder."""

from dataclasses import dataclass, field

from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.removal import REMOVAL_FOLDER, Removal, read_removal, removal_file
from bitmill.schemas.errors import FormatError

_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A removal and its file, relative to the dataset's folder."""

    file: str
    removal: Removal


def load_records(folder: Folder) -> list[Record]:
    """A dataset's records, in order. Raises FormatError for a damaged one."""
    return [_load(folder, name) for name in record_names(folder)]


def record_names(folder: Folder) -> list[str]:
    """Names of the records' files, in order; each name depends on what the record requests."""
    return [name for name in folder.list_names(REMOVAL_FOLDER) if name.endswith(_SUFFIX)]


def publish_record(folder: Folder, removal: Removal) -> Record:
    """Publish a removal's record: under the next number, or replacing the record of the same request."""
    names = record_names(folder)
    file = next(
        (f"{REMOVAL_FOLDER}/{name}" for name in names if name.endswith(f"-{removal.id}{_SUFFIX}")), ""
    )
    file = file or removal_file(len(names), removal)
    folder.write_bytes(file, removal.to_json())
    return Record(file=file, removal=removal)


@dataclass
class KnownTakedown:
    """The union of a dataset's takedowns, refreshed on demand; each record is read once."""

    folder: Folder
    newest: Takedown = field(default_factory=Takedown)
    """The takedown as of the last ``look``."""
    _seen: dict[str, Removal] = field(default_factory=dict[str, Removal])

    def look(self) -> Takedown:
        """The takedown as of now. Raises FormatError for a damaged record, and the storage's errors."""
        names = record_names(self.folder)
        if names != list(self._seen):
            self._seen = {name: self._seen.get(name) or _load(self.folder, name).removal for name in names}
            self.newest = Takedown.of(self._seen.values())
        return self.newest


def _load(folder: Folder, name: str) -> Record:
    file = f"{REMOVAL_FOLDER}/{name}"
    origin = f"{folder.uri}/{file}"
    try:
        data = folder.read_bytes(file)
    except FileNotFoundError as error:
        raise FormatError(f"{origin} disappeared while it was being read.") from error
    return Record(file=file, removal=read_removal(data, origin=origin))
