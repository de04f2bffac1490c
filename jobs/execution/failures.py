"""Counts a run's failed items as it goes, in constant time for each report."""

from collections import Counter, defaultdict

from bitmill.pipeline.shard.progress import EndedItem, ShardProgress
from bitmill.schemas.outcomes import Reason


class Failures:
    """Failed items of this run by reason, without removed ones; a shard's can be taken back."""

    def __init__(self) -> None:
        self.count = 0
        self.added_items = 0
        """Items of tars beyond the one that the plan counts for each."""
        self._last: EndedItem | None = None
        self._reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._added: Counter[str] = Counter()

    def advance(self, event: ShardProgress) -> bool:
        """Count a report. Returns whether a source failed that is one item."""
        if event.added_items:
            self._added[event.shard_id] += event.added_items
            self.added_items += event.added_items
        failed = [item for item in event.failed if item.reason is not Reason.REMOVED]
        if failed:
            self._reasons[event.shard_id].update(str(item.reason) for item in failed)
            self.count += len(failed)
            self._last = failed[-1]
        return any(item.key is None for item in failed)

    def drop(self, shard_id: str) -> None:
        """Take back the counts of a shard that restarts."""
        self.count -= self._reasons.pop(shard_id, Counter[str]()).total()
        self.added_items -= self._added.pop(shard_id, 0)

    def told(self) -> str:
        """Returns the commonest reasons of at least one failure, and the last one, for an error's message."""
        reasons = sum(self._reasons.values(), start=Counter[str]())
        counted = ", ".join(f"{reason} {count} times" for reason, count in reasons.most_common(3))
        last = f"{self._last.source} ({self._last.detail})" if self._last is not None else "?"
        return f"{counted} in this run; the last was {last}"
