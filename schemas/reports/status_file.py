"""status.json: what the driver of a dataset said of itself last. The one file that tells the time."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.requests.job import describe_validation

STATUS_FORMAT_VERSION = 1

STATUS_FILE = "status.json"

EXIT_COMPLETE, EXIT_NOT_ALL_OK, EXIT_UNFINISHED = 0, 3, 6
"""Exit codes of commands that tell how a dataset stands; those of errors are in schemas/errors.py."""

DECODER_STAGES = ("read", "decode")
ACTOR_STAGES = ("wait", "encode", "write")
"""What the time of a shard goes into: reading sources and decoding them, in decoders that run side by side;
waiting for them, encoding, and packing and publishing, one after another in the actor."""
STAGES = (*DECODER_STAGES, *ACTOR_STAGES)

WRITE_EVERY_S = 5.0
"""Seconds between two writes of a driver."""

SILENT_AFTER_WRITES = 6
"""A driver that has missed so many writes in a row is told as silent."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DriverState(StrEnum):
    """What a driver is about, or how it ended."""

    PLANNING = "planning"
    RUNNING = "running"
    COMPLETE = "complete"
    COMPLETE_WITH_FAILURES = "complete_with_failures"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        """Whether the driver has ended, and knew it."""
        return self not in {DriverState.PLANNING, DriverState.RUNNING}


class DriverPlace(_Part):
    """Where the driver runs."""

    host: str
    pid: int
    submission_id: str | None = None
    """Name of the submitted job, where it was started by ``bitmill submit``."""


class Part(_Part):
    """How much of a whole is done, runs before this one included."""

    planned: int = 0
    done: int = 0


class Rates(_Part):
    """Per second, since this driver's first shard began."""

    items: float = 0.0
    clips: float = 0.0
    frames: float = 0.0
    tokens: float = 0.0


class ActorCounts(_Part):
    """The run's actors by what they do."""

    at_work: int = 0
    idle: int = 0
    """Ready, and without a shard."""
    starting: int = 0
    """On their way up, or waiting for a node with room."""


class JobStatus(_Part):
    """The contents of status.json. Counts are of the whole dataset, shards under way included."""

    format: Literal["bitmill-status"] = "bitmill-status"
    format_version: int = STATUS_FORMAT_VERSION
    state: DriverState
    exit_code: int | None = None
    """Null until the end."""
    error: str | None = None
    """The sentence that the command ended with."""
    note: str | None = None
    """What the driver waits for, if it does."""
    driver: DriverPlace
    actors: ActorCounts = ActorCounts()
    started_at: datetime
    updated_at: datetime
    write_every_s: float = WRITE_EVERY_S
    shards: Part = Part()
    items: Part = Part()
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    not_ok: int = 0
    """Items that ended as partial or failed."""
    reasons: dict[str, int] = {}
    rates: Rates = Rates()
    seconds: dict[str, float] = {}
    """Time by stage (read, decode, wait, encode, write) over the work of this driver's shards."""
    remaining_s: float | None = None

    def to_json(self) -> bytes:
        """The file's bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    def silent_after_s(self) -> float:
        """Age at which a status that tells of no end is no sign of life any more."""
        return SILENT_AFTER_WRITES * self.write_every_s


def read_status(data: bytes, *, origin: str) -> JobStatus:
    """Parse status.json. Raises FormatError, naming ``origin``, on damage or another version."""
    try:
        status = JobStatus.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{origin} cannot be read: {describe_validation(error)}") from error
    if status.format_version > STATUS_FORMAT_VERSION:
        raise FormatError(
            f"{origin} has status format {status.format_version}; this bitmill reads up to "
            f"{STATUS_FORMAT_VERSION}. Upgrade bitmill."
        )
    return status
