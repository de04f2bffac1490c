"""What a shard's losses say of it, and of its sources: pure bookkeeping."""

from dataclasses import dataclass, field

from bitmill.jobs.scheduling.assignment import Isolation, Loss, SkippedSource
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.outcomes import Reason

LOSSES_BEFORE_ISOLATION = 2
"""An actor may die through no fault of its shard; of a shard that loses two, one source is suspected."""

DEATHS_OF_A_SOURCE = 2
"""A source under which, alone, so many actors died is given up."""

UNEXPLAINED_LOSSES = 2
"""A shard that goes on to lose actors while no source is tried alone is given up, and the job with it."""

MOST_LOSSES = 10
"""The same for one that loses so many actors at all, by death or hang."""

MOST_NODES_LOST = 50
"""Nodes may go under a shard this often; on spot machines that says nothing of the shard."""


@dataclass
class RetryPolicy:
    """The losses of one shard so far, and how it is to be done next: as usual, or isolated."""

    shard: PlannedShard
    isolation: Isolation | None = None
    _trying: int | None = None
    _losses: int = 0
    _unexplained: int = 0
    _nodes_lost: int = 0
    _deaths: dict[int, int] = field(default_factory=dict[int, int])

    def begin(self) -> None:
        """The shard is given to an actor; it tries no source yet."""
        self._trying = None

    def trying(self, place: int | None) -> None:
        """The source at ``place`` is about to be tried alone, those before it have been; null: all have."""
        self._trying = place
        try_from = len(self.shard.sources) if place is None else place
        skipped = self.isolation.skipped if self.isolation is not None else {}
        self.isolation = Isolation(try_from=try_from, skipped=skipped)

    def count(self, loss: Loss, detail: str) -> None:
        """An actor was lost under the shard. Raises InfrastructureError where that was one too many."""
        if loss is Loss.REMOVED:
            return
        if loss is Loss.NODE_LOST:
            self._nodes_lost += 1
            if self._nodes_lost >= MOST_NODES_LOST:
                raise self._gave_up(self._nodes_lost, detail)
            return
        place, isolation = self._trying, self.isolation
        self._losses += 1
        self._unexplained += isolation is not None and place is None
        if self._losses >= MOST_LOSSES or self._unexplained >= UNEXPLAINED_LOSSES:
            raise self._gave_up(self._losses, detail)
        if isolation is None:
            if self._losses >= LOSSES_BEFORE_ISOLATION:
                self.isolation = Isolation()
        elif place is not None:
            self._deaths[place] = self._deaths.get(place, 0) + 1
            if self._deaths[place] >= DEATHS_OF_A_SOURCE:
                skipped = {**isolation.skipped, place: _verdict(loss)}
                self.isolation = Isolation(try_from=place + 1, skipped=skipped)

    def _gave_up(self, times: int, detail: str) -> InfrastructureError:
        return InfrastructureError(
            f"Shard {self.shard.shard_id} lost its actor {times} times ({detail or 'no cause given'}). "
            "See the cluster's logs; run the same command again to resume."
        )


def _verdict(loss: Loss) -> SkippedSource:
    alone = f"while taking it alone, in each of {DEATHS_OF_A_SOURCE} attempts."
    if loss is Loss.OUT_OF_MEMORY:
        return SkippedSource(
            reason=Reason.OUT_OF_MEMORY, detail=f"The tokenizer's process ran out of memory {alone}"
        )
    if loss is Loss.HUNG:
        return SkippedSource(reason=Reason.DECODE_TIMEOUT, detail=f"The tokenizer's process hung {alone}")
    return SkippedSource(reason=Reason.DECODER_CRASHED, detail=f"The tokenizer's process died {alone}")
