"""Counts what running the job again, or with ``--retry-failed``, would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.planning.append import failed_sources
from bitmill.pipeline.span_bytes import object_bytes
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import SHARD_FOLDER
from bitmill.schemas.dataset.plan_schema import PlannedShard

_MAX_NAMED = 3


@dataclass
class StepTally:
    """Remaining work of some shards."""

    shards: int = 0
    sources: int = 0
    bytes: int = 0
    """Bytes of shards that are not committed."""
    failed_sources: int = 0
    failed_bytes: int = 0
    members_left_out: int = 0
    partial_items: int = 0
    damaged: int = 0
    """Number of existing token shards that are damaged."""
    damaged_names: list[str] = field(default_factory=list[str])

    def add_pending(self, shard: PlannedShard) -> None:
        """Add a shard that is not committed."""
        self.shards += 1
        self.sources += len(shard.sources)
        self.bytes += shard.size_bytes

    def add_failed(self, shard: PlannedShard, ledger: Sequence[LedgerRow], over_plan: NewestAttempts) -> None:
        """Add what can be retried in a committed shard, except sources that are planned again already."""
        failed = failed_sources(shard, ledger, over_plan, frozenset())
        self.failed_sources += len(failed.sources)
        self.failed_bytes += object_bytes(failed.sources)
        self.members_left_out += failed.members_left_out

    def add_damaged(self, shard: PlannedShard) -> None:
        """Add an existing token shard that is damaged."""
        self.damaged += 1
        if len(self.damaged_names) < _MAX_NAMED:
            self.damaged_names.append(shard.shard_id)

    def merge(self, other: "StepTally") -> None:
        """Add the work of the following shards."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.damaged_names.extend(other.damaged_names[: _MAX_NAMED - len(self.damaged_names)])

    def sentences(self, *, has_totals: bool) -> Iterator[str]:
        """Yield sentences that say what to do next."""
        if self.damaged:
            more = f" and {self.damaged - _MAX_NAMED} more" if self.damaged > _MAX_NAMED else ""
            names = ", ".join(f"{SHARD_FOLDER}/{name}.parquet" for name in self.damaged_names)
            yield (
                f"Damaged: {counted(self.damaged, 'token shard')} ({names}{more}). Restore from a backup, or "
                "delete and run the job again."
            )
        if self.shards:
            yield (
                f"Running the job again does {counted(self.shards, 'shard')} with "
                f"{counted(self.sources, 'source')} of {self.bytes:,} bytes."
            )
        elif not has_totals:
            yield "dataset.json has no totals yet; running the job again writes them."
        if self.failed_sources:
            yield (
                f"Running the job with --retry-failed does {counted(self.failed_sources, 'failed source')} "
                f"of {self.failed_bytes:,} bytes again; bitmill remove takes out what will never be readable."
            )
        if self.members_left_out:
            yield (
                f"{counted(self.members_left_out, 'failed member')} of tars cannot be retried, since other "
                "members of their tars were tokenized; put repaired ones into a new tar and --append it."
            )
        if self.partial_items:
            yield f"{counted(self.partial_items, 'item')} partially tokenized, which no command retries."


_COUNTS = tuple(field.name for field in fields(StepTally) if field.name != "damaged_names")
