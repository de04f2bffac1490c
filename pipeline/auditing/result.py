"""The audit result of consecutive shards: picklable, merged in plan order."""

from dataclasses import dataclass, field

from bitmill.pipeline.auditing.coverage.next_steps import StepTally
from bitmill.pipeline.auditing.coverage.tally import CoverageTally
from bitmill.pipeline.auditing.shard.collector_protocol import Collector
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.dataset.plan_schema import PlannedShard


@dataclass(frozen=True, kw_only=True)
class ShardAtHand:
    """A planned shard, and which of its files were listed."""

    planned: PlannedShard
    has_shard: bool
    has_ledger: bool


@dataclass(kw_only=True)
class ShardsAudit:
    """The findings and counts of consecutive shards of a plan."""

    coverage: CoverageTally
    collected: dict[str, Collector]
    found: FindingTally = field(default_factory=FindingTally)
    steps: StepTally = field(default_factory=StepTally)
    totals: Totals = field(default_factory=Totals)
    """Sums over the ledger rows that count."""
    totals_known: bool = True
    """True if every shard is committed and its ledger has no findings."""
    planned: int = 0
    committed: int = 0
    read: int = 0
    """Number of committed shards without damage."""
    clips: int = 0
    code_bytes: int = 0

    def merge(self, other: "ShardsAudit") -> None:
        """Add the result of the following shards; ``other`` must not be used afterwards."""
        self.coverage.merge(other.coverage)
        for name, collector in self.collected.items():
            collector.merge(other.collected[name])
        self.found.merge(other.found)
        self.steps.merge(other.steps)
        self.totals += other.totals
        self.totals_known &= other.totals_known
        for name in ("planned", "committed", "read", "clips", "code_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
