"""Which actor gets which shard: pure bookkeeping, without a clock, a file or Ray."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from jobs.assignment import Assignment, GivenUp, Isolation, Loss
from schemas.errors import InfrastructureError
from schemas.outcomes import Reason
from schemas.plan import PlannedShard

LOSSES_BEFORE_ISOLATION = 2
"""An actor may die through no fault of its shard; of a shard that loses two, one source is suspected."""

DEATHS_OF_A_SOURCE = 2
"""A source under which, alone, so many actors died is given up."""

UNEXPLAINED_LOSSES = 2
"""One that goes on to lose actors while no source is tried alone is given up, and the job with it."""

MOST_LOSSES = 10
"""The same for one that loses so many actors at all, by death or hang."""

MOST_NODES_LOST = 50
"""Nodes may go under a shard this often; on spot machines that says nothing of the shard."""


@dataclass
class _Bench:
    """One actor's assignments: the shard at work, the one that follows, and whether that is asked back."""

    at_work: Assignment | None = None
    next: Assignment | None = None
    asked_back: bool = False


@dataclass
class _History:
    """What a shard has cost so far, and what is known of its sources."""

    losses: int = 0
    unexplained: int = 0
    nodes_lost: int = 0
    deaths: dict[int, int] = field(default_factory=dict[int, int])
    trying: int | None = None
    isolation: Isolation | None = None


class ShardQueue:
    """Shards that wait, and shards given to actors: one at work and at most one ahead of it for each.

    A shard given ahead spares its actor the wait between two. It is asked back where another actor has
    nothing to do. Laws: a shard is in one place at a time, and leaves only by ``finished`` or by an error.
    """

    def __init__(self, shards: Sequence[PlannedShard]) -> None:
        self._waiting: deque[PlannedShard] = deque(shards)
        self._benches: dict[int, _Bench] = {}
        self._histories: dict[str, _History] = {}
        self._given = 0
        self._stopping = False

    @property
    def unfinished(self) -> int:
        """Shards that wait, are given ahead, or are at work."""
        ahead = sum(bench.next is not None for bench in self._benches.values())
        return len(self._waiting) + len(self.at_work) + ahead

    @property
    def at_work(self) -> list[Assignment]:
        """Shards at work, one an actor."""
        return [bench.at_work for bench in self._benches.values() if bench.at_work is not None]

    @property
    def actors(self) -> frozenset[int]:
        """Actors that have joined and are not lost."""
        return frozenset(self._benches)

    def busy(self, actor: int) -> bool:
        """Whether an actor has a shard."""
        bench = self._benches.get(actor)
        return bench is not None and bench.at_work is not None

    def join(self, actor: int) -> None:
        """An actor is ready for shards."""
        self._benches.setdefault(actor, _Bench())

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopping = True

    def assign(self) -> list[Assignment]:
        """What to give out now: to actors without a shard first, then one ahead."""
        if self._stopping:
            return []
        given: list[Assignment] = []
        for actor, bench in self._benches.items():
            if self._waiting and bench.at_work is None:
                bench.at_work = self._give(self._waiting.popleft(), actor)
                given.append(bench.at_work)
        for actor, bench in self._benches.items():
            # The last shards are kept for whoever is free first.
            if len(self._waiting) < len(self._benches) or self._is_suspect(self._waiting[0]):
                break
            if bench.next is None and bench.at_work is not None and bench.at_work.isolation is None:
                bench.next = self._give(self._waiting.popleft(), actor)
                given.append(bench.next)
        return given

    def ask_back(self) -> list[Assignment]:
        """Shards given ahead to ask back now: for actors that have nothing to do, or all when stopping."""
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

    def came_back(self, assignment: Assignment) -> bool:
        """A shard that was asked back had not begun. False where its actor has been lost since."""
        bench = self._benches.get(assignment.actor)
        if bench is not None and bench.next == assignment:
            bench.next, bench.asked_back = None, False
        elif bench is not None and bench.at_work == assignment:
            # The shard before it was finished while the answer was under way.
            bench.at_work = None
        else:
            return False
        self._waiting.appendleft(assignment.shard)
        return True

    def trying(self, assignment: Assignment, place: int | None) -> None:
        """An isolated shard is about to try the source at ``place`` alone; null: all have been tried."""
        history = self._history(assignment.shard)
        history.trying = place
        try_from = len(assignment.shard.sources) if place is None else place
        given_up = history.isolation.given_up if history.isolation is not None else {}
        history.isolation = Isolation(try_from=try_from, given_up=given_up)

    def finished(self, assignment: Assignment) -> None:
        """The shard at work is committed; the one ahead, if any, is at work now."""
        bench = self._benches[assignment.actor]
        if bench.at_work != assignment:
            raise ValueError(f"shard {assignment.shard.shard_id} was not at work")
        self._histories.pop(assignment.shard.shard_id, None)
        bench.at_work, bench.next, bench.asked_back = bench.next, None, False

    def lost(self, actor: int, error: Loss, *, committed: bool = False, detail: str = "") -> None:
        """An actor is gone, with both its shards; the one at work may have been committed before.

        Raises InfrastructureError where the shard at work has lost too many.
        """
        bench = self._benches.pop(actor, None)
        if bench is None:
            return
        if bench.next is not None:
            self._waiting.appendleft(bench.next.shard)
        if bench.at_work is None or committed:
            return
        self._waiting.appendleft(bench.at_work.shard)
        if error is Loss.NODE_LOST:
            self._count_node(bench.at_work.shard, detail)
        elif error is not Loss.REMOVED:
            self._count_loss(bench.at_work.shard, error, detail)

    def _give(self, shard: PlannedShard, actor: int) -> Assignment:
        self._given += 1
        history = self._histories.get(shard.shard_id)
        if history is not None:
            history.trying = None
        isolation = history.isolation if history is not None else None
        return Assignment(number=self._given, shard=shard, actor=actor, isolation=isolation)

    def _is_suspect(self, shard: PlannedShard) -> bool:
        history = self._histories.get(shard.shard_id)
        return history is not None and history.isolation is not None

    def _history(self, shard: PlannedShard) -> _History:
        return self._histories.setdefault(shard.shard_id, _History())

    def _count_node(self, shard: PlannedShard, detail: str) -> None:
        history = self._history(shard)
        history.nodes_lost += 1
        if history.nodes_lost >= MOST_NODES_LOST:
            raise _gave_up(shard, history.nodes_lost, detail)

    def _count_loss(self, shard: PlannedShard, loss: Loss, detail: str) -> None:
        history = self._history(shard)
        place, isolation = history.trying, history.isolation
        history.losses += 1
        history.unexplained += isolation is not None and place is None
        if history.losses >= MOST_LOSSES or history.unexplained >= UNEXPLAINED_LOSSES:
            raise _gave_up(shard, history.losses, detail)
        if isolation is None:
            if history.losses >= LOSSES_BEFORE_ISOLATION:
                history.isolation = Isolation()
        elif place is not None:
            history.deaths[place] = history.deaths.get(place, 0) + 1
            if history.deaths[place] >= DEATHS_OF_A_SOURCE:
                given_up = {**isolation.given_up, place: _verdict(loss)}
                history.isolation = Isolation(try_from=place + 1, given_up=given_up)


def _verdict(loss: Loss) -> GivenUp:
    alone = f"while taking it alone, in each of {DEATHS_OF_A_SOURCE} attempts."
    if loss is Loss.OUT_OF_MEMORY:
        return GivenUp(
            reason=Reason.OUT_OF_MEMORY, detail=f"The tokenizer's process ran out of memory {alone}"
        )
    if loss is Loss.HUNG:
        return GivenUp(reason=Reason.DECODE_TIMEOUT, detail=f"The tokenizer's process hung {alone}")
    return GivenUp(reason=Reason.DECODER_CRASHED, detail=f"The tokenizer's process died {alone}")


def _gave_up(shard: PlannedShard, times: int, detail: str) -> InfrastructureError:
    return InfrastructureError(
        f"Shard {shard.shard_id} lost its actor {times} times ({detail or 'no cause given'}). "
        "See the cluster's logs; run the same command again to resume."
    )
