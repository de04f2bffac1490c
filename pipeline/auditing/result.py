"""The audit of some consecutive shards: a value that travels between processes and merges along the plan."""

from dataclasses import dataclass, field

from bitmill.pipeline.auditing.coverage.next_steps import StepTally
from bitmill.pipeline.auditing.coverage.tally import CoverageTally
from bitmill.pipeline.auditing.shard.collector import Collector
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
    """What was found in some consecutive shards of a plan."""

    coverage: CoverageTally
    collected: dict[str, Collector]
    found: FindingTally = field(default_factory=FindingTally)
    steps: StepTally = field(default_factory=StepTally)
    totals: Totals = field(default_factory=Totals)
    """Over counting ledger rows."""
    totals_known: bool = True
    """Whether every shard is committed, with a ledger in which nothing was found."""
    planned: int = 0
    committed: int = 0
    read: int = 0
    """Committed ones without damage."""
    clips: int = 0
    code_bytes: int = 0

    def merge(self, other: "ShardsAudit") -> None:
        """Take up what was found in the shards that follow; ``other`` is used up."""
        self.coverage.merge(other.coverage)
        for name, collector in self.collected.items():
            collector.merge(other.collected[name])
        self.found.merge(other.found)
        self.steps.merge(other.steps)
        self.totals += other.totals
        self.totals_known &= other.totals_known
        for name in ("planned", "committed", "read", "clips", "code_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
