"""Who follows a run: the driver tells each event once, and everyone who wants it hears it."""

from collections.abc import Sequence
from typing import Protocol

from bitmill.pipeline.shard.shard_loop import ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import ActorCounts


class Observer(Protocol):
    """Hears what the driver hears."""

    def begin(self, planned: int, earlier: Totals) -> None:
        """Work starts: ``planned`` items in all, of which ``earlier`` runs did some."""
        ...

    def advance(self, event: ShardProgress) -> None:
        """A shard made progress."""
        ...

    def drop(self, shard_id: str) -> None:
        """A shard lost its actor and starts over."""
        ...

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """A shard is committed, with its totals and its actor's seconds by stage."""
        ...

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        """Twice a second or so: what the driver waits for, if it does, and its actors."""
        ...


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def begin(self, planned: int, earlier: Totals) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.begin(planned, earlier)

    def advance(self, event: ShardProgress) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.advance(event)

    def drop(self, shard_id: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.drop(shard_id)

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.commit(shard_id, totals, seconds)

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.refresh(note, actors)
