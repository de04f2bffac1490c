"""status.json: the driver's latest status of a dataset. The only file that contains times."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ValidationError

from bitmill.schemas.errors import FormatError
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import JsonFile, StrictModel
from bitmill.schemas.versioned import refuse_newer

STATUS_FORMAT_VERSION = 1

STATUS_FILE = "status.json"

EXIT_COMPLETE, EXIT_NOT_ALL_OK, EXIT_UNFINISHED = 0, 3, 6
"""Exit codes of commands that report a dataset's state; those of errors are in schemas/errors.py."""

DECODER_STAGES = ("read", "decode")
ACTOR_STAGES = ("wait", "encode", "write")
"""Stages of a shard's time: reading and decoding sources, in parallel decoders; waiting for them, encoding,
and packing and publishing, in sequence in the actor."""
STAGES = (*DECODER_STAGES, *ACTOR_STAGES)

GPU = "gpu"
"""Key of the time in which a GPU computed, beside the stages: during the actors' stages, not one of them."""

WRITE_EVERY_S = 5.0
"""Seconds between a driver's heartbeats."""

SILENT_AFTER_WRITES = 6
"""Missed heartbeats after which a driver counts as silent."""


class DriverState(StrEnum):
    """What a driver is doing, or how it ended."""

    PLANNING = "planning"
    RUNNING = "running"
    COMPLETE = "complete"
    COMPLETE_WITH_FAILURES = "complete_with_failures"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        """Whether the driver reported its end."""
        return self not in {DriverState.PLANNING, DriverState.RUNNING}


class DriverPlace(StrictModel):
    """Where the driver runs."""

    host: str
    pid: int
    submission_id: str | None = None
    """Name of the submitted job, if started by ``bitmill submit``."""


class Part(StrictModel):
    """Planned and done counts, including earlier runs."""

    planned: int = 0
    done: int = 0


class Rates(StrictModel):
    """Rates per second, since this driver's first shard started."""

    items: float = 0.0
    clips: float = 0.0
    frames: float = 0.0
    tokens: float = 0.0


class ActorCounts(StrictModel):
    """Numbers of the run's actors by state."""

    at_work: int = 0
    idle: int = 0
    """Ready, without a shard."""
    starting: int = 0
    """Starting, or waiting for a node with free resources."""


class JobStatus(StrictModel, JsonFile, BaseModel):
    """The contents of status.json. Counts cover the whole dataset, including running shards."""

    format: Literal["bitmill-status"] = "bitmill-status"
    format_version: int = STATUS_FORMAT_VERSION
    state: DriverState
    exit_code: int | None = None
    """None until the end."""
    error: str | None = None
    """The error message that the command ended with."""
    note: str | None = None
    """What the driver is waiting for, if anything."""
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
    """Number of partial and failed items."""
    reasons: dict[str, int] = {}
    rates: Rates = Rates()
    seconds: dict[str, float] = {}
    """Seconds by stage (read, decode, wait, encode, write), summed over this driver's shards; and of GPUs
    (gpu), if any were used."""
    remaining_s: float | None = None

    def silent_after_s(self) -> float:
        """Return the age in seconds at which an unfinished status means that the driver is silent."""
        return SILENT_AFTER_WRITES * self.write_every_s


def read_status(data: bytes, *, origin: str) -> JobStatus:
    """Parse status.json. Raises FormatError naming ``origin`` if it is damaged or newer."""
    try:
        status = JobStatus.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{origin} cannot be read: {describe_validation(error)}") from error
    refuse_newer(status.format_version, STATUS_FORMAT_VERSION, what=f"{origin} has status format")
    return status
