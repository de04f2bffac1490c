"""Which ledger rows count where items were done again: of each source those of its newest attempt."""

from collections.abc import Iterable, Sequence

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.schemas.dataset.plan_schema import PlannedShard, SourcePlace


class NewestAttempts:
    """The newest attempt at each source, over shards in plan order.

    Over the committed shards it tells what a dataset holds now; over the whole plan, what will count once all
    of it is committed: rows that wait to be superseded are left out. Holds only sources that were planned
    again.
    """

    def __init__(self, shards: Iterable[PlannedShard]) -> None:
        self._newest: dict[SourcePlace, str] = {
            source.place: shard.shard_id for shard in shards if shard.attempt > 1 for source in shard.sources
        }

    def counting(self, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
        """Those of a shard's ledger rows that no newer attempt supersedes, in order."""
        if not self._newest:
            return list(rows)
        return [row for row in rows if self.counts_in(place_of(row), row["shard_id"])]

    def counts_in(self, place: SourcePlace, shard_id: str) -> bool:
        """Whether no shard but this one has a newer attempt at a source."""
        return self._newest.get(place, shard_id) == shard_id

    def all_count(self, shard: PlannedShard) -> bool:
        """Whether every row of a shard's ledger counts, without a look at it."""
        if not self._newest:
            return True
        return all(self.counts_in(source.place, shard.shard_id) for source in shard.sources)


def place_of(row: LedgerRow) -> SourcePlace:
    """The planned source that a ledger row belongs to; a tar's members share theirs."""
    return (row["source"], row["start_ns"], row["end_ns"])
