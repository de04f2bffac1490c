"""What passes between driver and actor: a shard to do, what to leave out of it, and how it may be lost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.outcomes import Reason


@dataclass(frozen=True, kw_only=True)
class SkippedSource:
    """Why a source is left out of its shard: the reason and the detail of its ledger row."""

    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """How to do a shard that kills its actors: try its sources alone, then take all but those at fault."""

    try_from: int = 0
    """Place of the first source that has not been tried alone."""
    skipped: Mapping[int, SkippedSource] = field(default_factory=dict[int, SkippedSource])
    """Sources at fault by their place in the shard."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One shard given to one actor; ``number`` tells it from any other time that the shard was given."""

    number: int
    shard: PlannedShard
    actor: int
    isolation: Isolation | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeStarted:
    """News of an isolated shard: the source at ``place`` is about to be tried; null, when all have been."""

    place: int | None


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """The news of a shard that was asked back in time: its actor's turn to it came, and nothing was done."""


class Loss(StrEnum):
    """How an actor was lost under a shard."""

    DIED = "died"
    """Its process ended."""
    OUT_OF_MEMORY = "out_of_memory"
    """Ray ended its process, since the node's memory ran out."""
    HUNG = "hung"
    """It gave no sign of life, and the driver ended it."""
    NODE_LOST = "node_lost"
    """Its node is gone or out of reach: no fault of the shard."""
    REMOVED = "removed"
    """The driver ended it, since the cluster became too small for it: no loss at all."""


class ActorLostError(Exception):
    """The actor of a shard was lost; whether it had committed is not known."""

    def __init__(self, loss: Loss, detail: str) -> None:
        super().__init__(detail)
        self.loss = loss
