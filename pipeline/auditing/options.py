"""What an audit looks at beyond files and coverage: the codes, duplicates, a sample, the sources."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bitmill.pipeline.auditing.check_dataset import DatasetAtHand
from bitmill.pipeline.auditing.codes.code_collector import CodeCollector
from bitmill.pipeline.auditing.coverage.prefixes import PrefixRule
from bitmill.pipeline.auditing.duplicates.bit_sample import DEFAULT_RADIUS, MAX_RADIUS
from bitmill.pipeline.auditing.duplicates.duplicate_collector import DuplicateCollector
from bitmill.pipeline.auditing.sample.drawing import SampleDrawer
from bitmill.pipeline.auditing.shard.collector import Collector, Collectors
from bitmill.schemas.errors import UsageError

CODES, DUPLICATES, SAMPLE = "codes", "duplicates", "sample"
"""Names of the gatherers."""


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """The parts that are wanted, and how. Raises UsageError for what cannot be."""

    codes: bool = True
    duplicates: bool = True
    radius: float = DEFAULT_RADIUS
    """Share of bits in which near duplicates may differ."""
    against: tuple[str, ...] = ()
    """Other datasets whose clips the audited one should not repeat."""
    sample: int = 16
    """Clips that are decoded and tokenized again."""
    seed: int = 0
    check_source: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.radius <= MAX_RADIUS:
            raise UsageError(f"--radius lies above 0 and is at most {MAX_RADIUS}, not {self.radius}.")
        if self.against and not self.duplicates:
            raise UsageError("--against names datasets to find duplicates in; leave --no-duplicates out.")

    def collectors(self, at_hand: DatasetAtHand, prefixes: PrefixRule) -> Collectors:
        """Who is offered the audited dataset's codes."""
        bits = at_hand.card.tokenizer.bits_per_token
        made: dict[str, Callable[[], Collector]] = {}
        if self.codes:
            made[CODES] = partial(CodeCollector, bits, max(1, len(at_hand.shards)), prefixes.prefix)
        if self.sample:
            made[SAMPLE] = partial(SampleDrawer, num_clips=self.sample, seed=self.seed, bits_per_token=bits)
        return made | (self.signatures(at_hand, prefixes) if self.duplicates else {})

    def signatures(self, at_hand: DatasetAtHand, _prefixes: PrefixRule) -> dict[str, Callable[[], Collector]]:
        """Who is offered the codes of a dataset that is only compared with."""
        bits = at_hand.card.tokenizer.bits_per_token
        return {DUPLICATES: partial(DuplicateCollector, bits, self.radius)}
