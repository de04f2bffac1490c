"""Decides from a shard's lost actors whether to retry, isolate its sources, or give up. No I/O."""

from dataclasses import dataclass, field

from bitmill.jobs.scheduling.actor_events import Isolation, Loss
from bitmill.pipeline.items import ItemEnd
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.outcomes import Reason

LOSSES_BEFORE_ISOLATION = 2
"""One loss may not be the shard's fault; after two, a source is suspected and the shard is isolated."""

DEATHS_OF_A_SOURCE = 2
"""A source that killed this many actors while tried alone is skipped."""

UNEXPLAINED_LOSSES = 2
"""Losses of an isolated shard while no source is tried alone, after which the job fails."""

MOST_LOSSES = 10
"""Losses of a shard in total, by death or hang, after which the job fails."""

MOST_NODES_LOST = 50
"""Lost nodes per shard after which the job fails; high because spot machines are often reclaimed."""


@dataclass
class RetryPolicy:
    """Losses of one shard so far, and whether to run it isolated next time."""

    shard: PlannedShard
    isolation: Isolation | None = None
    _trying: int | None = None
    _losses: int = 0
    _unexplained: int = 0
    _nodes_lost: int = 0
    _deaths: dict[int, int] = field(default_factory=dict[int, int])

    def begin(self) -> None:
        """Record that the shard was assigned; no source is being tried yet."""
        self._trying = None

    def trying(self, place: int | None) -> None:
        """Record that the source at index ``place`` is tried alone next; None once all have been tried."""
        self._trying = place
        try_from = len(self.shard.sources) if place is None else place
        skipped = self.isolation.skipped if self.isolation is not None else {}
        self.isolation = Isolation(try_from=try_from, skipped=skipped)

    def count(self, loss: Loss, detail: str) -> None:
        """Record a lost actor. Raises InfrastructureError if the shard lost too many."""
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


def _verdict(loss: Loss) -> ItemEnd:
    alone = f"when processing it alone, in each of {DEATHS_OF_A_SOURCE} attempts."
    if loss is Loss.OUT_OF_MEMORY:
        return ItemEnd.unread(Reason.OUT_OF_MEMORY, f"The tokenizer's process ran out of memory {alone}")
    if loss is Loss.HUNG:
        return ItemEnd.unread(Reason.DECODE_TIMEOUT, f"The tokenizer's process hung {alone}")
    return ItemEnd.unread(Reason.DECODER_CRASHED, f"The tokenizer's process died {alone}")
