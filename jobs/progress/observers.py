"""What the driver passes each event of a run to."""

from typing import Protocol

from bitmill.pipeline.shard.progress import ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import ActorCounts


class Observer(Protocol):
    """Receives the driver's events."""

    def begin(self, planned: int, earlier: Totals) -> None:
        """Work starts: ``planned`` items in total, including the ``earlier`` totals of previous runs."""
        ...

    def advance(self, event: ShardProgress) -> None:
        """A shard made progress."""
        ...

    def drop(self, shard_id: str) -> None:
        """A shard lost its actor and restarts."""
        ...

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """A shard is committed; ``seconds`` is its actor's time by stage."""
        ...

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        """Called about twice per second, with what the driver is waiting for, if anything, and its actors."""
        ...
