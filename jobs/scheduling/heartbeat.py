"""Whether actors that have a shard still show signs of life: pure, on a clock that is given."""

from collections.abc import Callable, Iterable

QUIET_S = 600.0
"""Longest time for what has no limit of its own: a batch on a slow device, weights loading, a slow store."""

ASK_EVERY_S = 5.0


class HeartbeatMonitor:
    """Deadlines of actors: a sign of life (an event, a pulse that moved on) gives ``limit_s`` more.

    A decoder that is waited for is supervised by the actor, which shows life meanwhile.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._alive: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._heartbeats: dict[int, int] = {}

    def alive(self, actor: int) -> None:
        """An actor has told something, or was given its first shard."""
        self._alive[actor] = self._clock()

    def heartbeat(self, actor: int, signs: int) -> None:
        """An actor's answer: how many signs of life it has given so far."""
        if self._heartbeats.get(actor) != signs:
            self._heartbeats[actor] = signs
            self.alive(actor)

    def forget(self, actor: int) -> None:
        """An actor is lost."""
        for known in (self._alive, self._asked, self._heartbeats):
            known.pop(actor, None)

    def to_ask(self, actors: Iterable[int]) -> list[int]:
        """Those whose pulse is to be asked for now; silent ones, now and then."""
        now = self._clock()
        silent = [
            actor
            for actor in actors
            if now - max(self._alive.get(actor, now), self._asked.get(actor, 0.0)) >= ASK_EVERY_S
        ]
        self._asked.update(dict.fromkeys(silent, now))
        return silent

    def overdue(self, actors: Iterable[int]) -> list[int]:
        """Those that have given no sign for longer than the limit."""
        now = self._clock()
        return [actor for actor in actors if now - self._alive.get(actor, now) > self._limit_s]
