"""What must be gone from a dataset by its records, for whoever checks that it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.removing.removal_records import load_records
from bitmill.pipeline.storage import Folder
from bitmill.schemas.outcomes import Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class RemovedClips:
    """All records of a dataset, as a check needs them."""

    takedown: Takedown
    of_shard: dict[str, frozenset[str]]
    """By shard id, the ids that records say were taken out of it."""
    unfinished: tuple[str, ...]
    """Files of records whose work was not finished."""

    @classmethod
    def none(cls) -> "RemovedClips":
        """Those of a dataset without records."""
        return cls(takedown=Takedown.of(()), of_shard={}, unfinished=())

    @property
    def num_clips(self) -> int:
        """Clips that were taken down."""
        return sum(map(len, self.of_shard.values()))

    def still_there(
        self,
        shard_id: str,
        clip_ids: Sequence[str],
        sources: Iterable[str],
        keys: Iterable[str | None],
    ) -> list[int]:
        """Places of a token shard's rows that should be gone, by their columns."""
        if not self.takedown:
            return []
        gone = self.of_shard.get(shard_id, frozenset())
        return [
            place
            for place, (clip, uri, key) in enumerate(zip(clip_ids, sources, keys, strict=True))
            if clip in gone or self.takedown.takes_clip(clip, uri, key)
        ]

    def still_counted(self, rows: Sequence[LedgerRow]) -> list[int]:
        """Places of ledger rows whose item was taken down whole, and which do not say so."""
        if not self.takedown:
            return []
        return [
            place
            for place, row in enumerate(rows)
            if self.takedown.takes_item(row["source"], row["key"])
            and (row["outcome"], row["reason"], row["num_clips"]) != (Outcome.FAILED, Reason.REMOVED, 0)
        ]


def removed_clips(folder: Folder) -> RemovedClips:
    """What a dataset's records say. Raises FormatError for a damaged one."""
    records = load_records(folder)
    of_shard: dict[str, set[str]] = {}
    for record in records:
        for shard in record.removal.shards:
            of_shard.setdefault(shard.shard_id, set()).update(shard.clip_ids)
    return RemovedClips(
        takedown=Takedown.of(record.removal for record in records),
        of_shard={shard_id: frozenset(clips) for shard_id, clips in of_shard.items() if clips},
        unfinished=tuple(record.file for record in records if not record.removal.finished),
    )
