"""Heartbeat tracking of busy actors. Pure; the clock is injected."""

from collections.abc import Callable, Iterable

QUIET_S = 600.0
"""Limit for steps without their own timeout: a batch on a slow device, loading weights, a slow store."""

ASK_EVERY_S = 5.0

MOST_ASKED_PER_S = 50
"""More actors are asked less often: answers take the driver's time without a shard having ended."""


class HeartbeatMonitor:
    """Deadlines of actors: each sign of life (an event, a higher heartbeat count) resets it to ``limit_s``.

    Waiting for a decoder counts as alive: the actor itself supervises its decoders.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._alive: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._heartbeats: dict[int, int] = {}

    def alive(self, actor: int) -> None:
        """Record that an actor sent an event or was assigned its first shard."""
        self._alive[actor] = self._clock()

    def heartbeat(self, actor: int, signs: int) -> None:
        """Record an actor's reply: its heartbeat count so far."""
        if self._heartbeats.get(actor) != signs:
            self._heartbeats[actor] = signs
            self.alive(actor)

    def forget(self, actor: int) -> None:
        """Drop a lost actor."""
        for known in (self._alive, self._asked, self._heartbeats):
            known.pop(actor, None)

    def to_ask(self, actors: Iterable[int]) -> list[int]:
        """Returns the silent actors to poll for a heartbeat now, each at most every ``ASK_EVERY_S``."""
        now, actors = self._clock(), list(actors)
        every_s = max(ASK_EVERY_S, len(actors) / MOST_ASKED_PER_S)
        silent = [
            actor
            for actor in actors
            if now - max(self._alive.get(actor, now), self._asked.get(actor, 0.0)) >= every_s
        ]
        self._asked.update(dict.fromkeys(silent, now))
        return silent

    def overdue(self, actors: Iterable[int]) -> list[int]:
        """Returns the actors that gave no sign of life for longer than the limit."""
        now = self._clock()
        return [actor for actor in actors if now - self._alive.get(actor, now) > self._limit_s]
