"""Messages between the driver and its actors: assigned shards, sources to skip, and causes of actor loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bitmill.pipeline.items import ItemEnd
from bitmill.schemas.dataset.plan_schema import PlannedShard


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """How to run a shard that kills its actors: try each source alone, then run all but the faulty ones."""

    try_from: int = 0
    """Index of the first source that has not been tried alone."""
    skipped: Mapping[int, ItemEnd] = field(default_factory=dict[int, ItemEnd])
    """The ends of faulty sources, by their index in the shard."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One shard assigned to one actor; ``number`` is unique to each assignment."""

    number: int
    shard: PlannedShard
    actor: int
    isolation: Isolation | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeStarted:
    """An isolated shard is about to try the source at index ``place``; None once all have been tried."""

    place: int | None


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """The shard was withdrawn before it started."""


class Loss(StrEnum):
    """How an actor was lost while it ran a shard."""

    DIED = "died"
    """Its process ended."""
    OUT_OF_MEMORY = "out_of_memory"
    """Ray killed its process because the node ran out of memory."""
    HUNG = "hung"
    """It missed its heartbeat limit, and the driver killed it."""
    NODE_LOST = "node_lost"
    """Its node is gone or unreachable; not the shard's fault."""
    REMOVED = "removed"
    """The driver ended it because the cluster shrank; not counted as a loss."""


class ActorLostError(Exception):
    """A shard's actor was lost; whether the shard was committed is unknown."""

    def __init__(self, loss: Loss, detail: str) -> None:
        super().__init__(detail)
        self.loss = loss
