"""Assigns shards to actors. Pure bookkeeping, without a clock, files or Ray."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bitmill.jobs.scheduling.actor_events import Assignment, Loss
from bitmill.jobs.scheduling.retry_policy import RetryPolicy
from bitmill.schemas.dataset.plan_schema import PlannedShard


@dataclass
class _Bench:
    """One actor's assignments: the running shard, the prefetched one, and whether that is being withdrawn."""

    at_work: Assignment | None = None
    next: Assignment | None = None
    asked_back: bool = False


class ShardQueue:
    """Waiting shards and assigned shards: per actor one running and at most one prefetched.

    A prefetched shard saves its actor the wait between two shards. It is withdrawn if another actor is idle.
    Invariants: a shard is in one place at a time, and leaves only by ``finished`` or by an error.
    """

    def __init__(self, shards: Sequence[PlannedShard]) -> None:
        self._waiting: deque[PlannedShard] = deque(shards)
        self._benches: dict[int, _Bench] = {}
        self._retry_policies: dict[str, RetryPolicy] = {}
        self._given = 0
        self._stopping = False

    @property
    def unfinished(self) -> int:
        """Number of shards that are waiting, prefetched, or running."""
        ahead = sum(bench.next is not None for bench in self._benches.values())
        return len(self._waiting) + len(self.at_work) + ahead

    @property
    def at_work(self) -> list[Assignment]:
        """Running shards, at most one per actor."""
        return [bench.at_work for bench in self._benches.values() if bench.at_work is not None]

    @property
    def actors(self) -> Collection[int]:
        """Actors that joined and were not lost; a view, not a copy."""
        return self._benches.keys()

    def busy(self, actor: int) -> bool:
        """Whether an actor is running a shard."""
        bench = self._benches.get(actor)
        return bench is not None and bench.at_work is not None

    def join(self, actor: int) -> None:
        """Add an actor that is ready for shards."""
        self._benches.setdefault(actor, _Bench())

    def stop(self) -> None:
        """Assign no more shards."""
        self._stopping = True

    def assign(self) -> list[Assignment]:
        """Assign shards, to idle actors first, then prefetched ones; returns the new assignments."""
        if self._stopping:
            return []
        given: list[Assignment] = []
        for actor, bench in self._benches.items():
            if self._waiting and bench.at_work is None:
                bench.at_work = self._give(self._waiting.popleft(), actor)
                given.append(bench.at_work)
        for actor, bench in self._benches.items():
            # The last shards are kept for the first idle actor.
            if len(self._waiting) < len(self._benches) or self._is_isolated(self._waiting[0]):
                break
            if bench.next is None and bench.at_work is not None and bench.at_work.isolation is None:
                bench.next = self._give(self._waiting.popleft(), actor)
                given.append(bench.next)
        return given

    def to_withdraw(self) -> list[Assignment]:
        """Returns the prefetched shards to withdraw now: one per idle actor, or all when stopping."""
        benches = self._benches.values()
        ahead = [bench for bench in benches if bench.next is not None and not bench.asked_back]
        if not self._stopping:
            idle = sum(bench.at_work is None for bench in benches)
            asked = sum(bench.asked_back for bench in benches)
            ahead = ahead[: max(0, idle - asked - len(self._waiting))]
        wanted: list[Assignment] = []
        for bench in ahead:
            bench.asked_back = True
            if bench.next is not None:
                wanted.append(bench.next)
        return wanted

    def withdrawn(self, assignment: Assignment) -> bool:
        """Requeue a withdrawn shard that had not started. Returns False if its actor was lost meanwhile."""
        bench = self._benches.get(assignment.actor)
        if bench is not None and bench.next == assignment:
            bench.next, bench.asked_back = None, False
        elif bench is not None and bench.at_work == assignment:
            # The shard before it finished while the reply was in flight.
            bench.at_work = None
        else:
            return False
        self._waiting.appendleft(assignment.shard)
        return True

    def trying(self, assignment: Assignment, place: int | None) -> None:
        """Record that an isolated shard tries the source at index ``place`` next; None if all were tried."""
        self._retry_policy(assignment.shard).trying(place)

    def finished(self, assignment: Assignment) -> None:
        """Record that the running shard is committed; the prefetched one, if any, is running now."""
        bench = self._benches[assignment.actor]
        if bench.at_work != assignment:
            raise ValueError(f"shard {assignment.shard.shard_id} was not at work")
        self._retry_policies.pop(assignment.shard.shard_id, None)
        bench.at_work, bench.next, bench.asked_back = bench.next, None, False

    def lost(self, actor: int, loss: Loss, *, committed: bool = False, detail: str = "") -> None:
        """Remove a lost actor and requeue its shards; the running one may have been ``committed`` before.

        Raises InfrastructureError if the running shard has lost too many actors.
        """
        bench = self._benches.pop(actor, None)
        if bench is None:
            return
        if bench.next is not None:
            self._waiting.appendleft(bench.next.shard)
        if bench.at_work is not None and not committed:
            self._waiting.appendleft(bench.at_work.shard)
            self._retry_policy(bench.at_work.shard).count(loss, detail)

    def _give(self, shard: PlannedShard, actor: int) -> Assignment:
        self._given += 1
        retry_policy = self._retry_policies.get(shard.shard_id)
        if retry_policy is not None:
            retry_policy.begin()
        isolation = retry_policy.isolation if retry_policy is not None else None
        return Assignment(number=self._given, shard=shard, actor=actor, isolation=isolation)

    def _is_isolated(self, shard: PlannedShard) -> bool:
        retry_policy = self._retry_policies.get(shard.shard_id)
        return retry_policy is not None and retry_policy.isolation is not None

    def _retry_policy(self, shard: PlannedShard) -> RetryPolicy:
        return self._retry_policies.setdefault(shard.shard_id, RetryPolicy(shard))
