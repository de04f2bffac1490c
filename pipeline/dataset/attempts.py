"""Selects the ledger rows that count after retries: those of each source's newest attempt."""

from collections.abc import Iterable, Sequence

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.schemas.dataset.plan_schema import PlannedShard, SourcePlace


class NewestAttempts:
    """The newest attempt of each source, over shards in plan order.

    Built from the committed shards, it selects what the dataset contains now; from the whole plan, what will
    count once all shards are committed, without rows that a planned retry will supersede. Stores only sources
    that were planned again.
    """

    def __init__(self, shards: Iterable[PlannedShard]) -> None:
        self._newest: dict[SourcePlace, str] = {
            source.place: shard.shard_id for shard in shards if shard.attempt > 1 for source in shard.sources
        }

    def counting(self, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
        """Returns a shard's ledger rows that no newer attempt supersedes, in order."""
        if not self._newest:
            return list(rows)
        return [row for row in rows if self.counts_in(place_of(row), row["shard_id"])]

    def counts_in(self, place: SourcePlace, shard_id: str) -> bool:
        """Whether this shard has the newest attempt of a source."""
        return self._newest.get(place, shard_id) == shard_id

    def all_count(self, shard: PlannedShard) -> bool:
        """Whether every row of a shard's ledger counts, without reading the ledger."""
        if not self._newest:
            return True
        return all(self.counts_in(source.place, shard.shard_id) for source in shard.sources)


def place_of(row: LedgerRow) -> SourcePlace:
    """Returns the planned source of a ledger row; a tar's members share one."""
    return (row["source"], row["start_ns"], row["end_ns"])
