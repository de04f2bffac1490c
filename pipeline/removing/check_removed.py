"""What must no longer be in a dataset according to its removal records, for audits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.removing.removal_records import load_records
from bitmill.pipeline.storage import Folder
from bitmill.schemas.outcomes import Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class RemovedClips:
    """All removal records of a dataset, in the form that checks need."""

    takedown: Takedown
    of_shard: dict[str, frozenset[str]]
    """By shard id, the ids of the clips that records list as removed from it."""
    unfinished: tuple[str, ...]
    """Files of records whose removal is unfinished."""

    @classmethod
    def none(cls) -> "RemovedClips":
        """Those of a dataset without records."""
        return cls(takedown=Takedown.of(()), of_shard={}, unfinished=())

    @property
    def num_clips(self) -> int:
        """Number of removed clips."""
        return sum(map(len, self.of_shard.values()))

    def still_there(
        self,
        shard_id: str,
        clip_ids: Sequence[str],
        sources: Iterable[str],
        keys: Iterable[str | None],
    ) -> list[int]:
        """Indices of a token shard's rows that should have been removed, from their columns."""
        if not self.takedown:
            return []
        gone = self.of_shard.get(shard_id, frozenset())
        return [
            place
            for place, (clip, uri, key) in enumerate(zip(clip_ids, sources, keys, strict=True))
            if clip in gone or self.takedown.takes_clip(clip, uri, key)
        ]

    def still_counted(self, rows: Sequence[LedgerRow]) -> list[int]:
        """Indices of ledger rows whose whole item was removed, but whose outcome is not ``removed``."""
        if not self.takedown:
            return []
        return [
            place
            for place, row in enumerate(rows)
            if self.takedown.takes_item(row["source"], row["key"])
            and (row["outcome"], row["reason"], row["num_clips"]) != (Outcome.FAILED, Reason.REMOVED, 0)
        ]


def removed_clips(folder: Folder) -> RemovedClips:
    """Read a dataset's removal records. Raises FormatError for a damaged one."""
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
