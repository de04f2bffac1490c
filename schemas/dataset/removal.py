"""Removal records: what was requested to be removed, when, and which clips were. One JSON file each."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import BaseModel, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import content_id
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import refuse_newer, stored_version

REMOVAL_FORMAT_VERSION = 1

REMOVAL_FOLDER = "removals"


class RemovedSource(StrictModel):
    """A source, with all its spans that are or will be planned, or one member of a tar."""

    uri: str
    key: str | None = None
    """The member's name; None: the whole source."""


class RemovedShard(StrictModel):
    """A committed shard that the removal affects."""

    shard_id: str
    clip_ids: list[str]
    """Removed clips, in the shard's order; empty if its removed sources had no clips."""


class Removal(StrictModel, JsonFile, BaseModel):
    """The contents of a record. It also applies to shards that are not committed yet."""

    json_indent: ClassVar[int] = 1

    format: Literal["bitmill-removal"] = "bitmill-removal"
    format_version: int = REMOVAL_FORMAT_VERSION
    removed_on: date
    """UTC."""
    reason: str | None = None
    """The user's stated reason."""
    sources: list[RemovedSource] = []
    clips: list[str] = []
    """Ids of clips that were requested individually."""
    shards: list[RemovedShard] = []
    """In plan order."""
    num_clips: int = 0
    """Number of removed clips in all ``shards``."""
    finished: bool = False
    """False while shards are being rewritten, or if that was interrupted."""

    @property
    def id(self) -> str:
        """Content id over the request, so that the same command has the same record."""
        sources = [[source.uri, source.key] for source in self.sources]
        return content_id("removal", [sources, self.clips, self.reason])


def removal_file(number: int, removal: Removal) -> str:
    """Return a record's path, relative to the dataset's folder; ``number`` counts earlier records."""
    return f"{REMOVAL_FOLDER}/{number:05d}-{removal.id}.json"


def read_removal(data: bytes, *, origin: str) -> Removal:
    """Parse a record. Raises FormatError, naming ``origin``, on damage or a newer version."""
    try:
        refuse_newer(stored_version(data), REMOVAL_FORMAT_VERSION, what=f"{origin} has removal format")
        return Removal.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(
            f"{origin} is damaged: {describe_validation(error)} Restore it from a copy: it records what "
            "must not come back."
        ) from error
