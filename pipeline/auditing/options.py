"""Options of an audit beyond files and coverage: codes, duplicates, sample, sources."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bitmill.pipeline.auditing.check_dataset import DatasetAtHand
from bitmill.pipeline.auditing.codes.code_collector import CodeCollector
from bitmill.pipeline.auditing.coverage.prefixes import PrefixRule
from bitmill.pipeline.auditing.duplicates.duplicate_collector import DuplicateCollector
from bitmill.pipeline.auditing.duplicates.lsh import DEFAULT_RADIUS, MAX_RADIUS
from bitmill.pipeline.auditing.sample.choose_sample import SampleDrawer
from bitmill.pipeline.auditing.shard.collector_protocol import Collector, Collectors
from bitmill.schemas.errors import UsageError

CODES, DUPLICATES, SAMPLE = "codes", "duplicates", "sample"
"""Names of the collectors."""


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """The parts of an audit to run, and their settings. Raises UsageError for invalid settings."""

    codes: bool = True
    duplicates: bool = True
    radius: float = DEFAULT_RADIUS
    """Share of the stored codes' bits in which near duplicates may differ."""
    against: tuple[str, ...] = ()
    """Other datasets whose clips must not occur in the audited one."""
    sample: int = 16
    """Number of clips to decode and tokenize again."""
    seed: int = 0
    check_source: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.radius <= MAX_RADIUS:
            raise UsageError(f"--radius must be above 0 and at most {MAX_RADIUS}, not {self.radius}.")
        if self.against and not self.duplicates:
            raise UsageError("--against compares datasets for duplicates; remove --no-duplicates.")

    def collectors(self, at_hand: DatasetAtHand, prefixes: PrefixRule) -> Collectors:
        """The collectors to run on the audited dataset."""
        geometry = at_hand.card.geometry
        made: dict[str, Callable[[], Collector]] = {}
        if self.codes:
            made[CODES] = partial(CodeCollector, geometry, max(1, len(at_hand.shards)), prefixes.prefix)
        if self.sample:
            made[SAMPLE] = partial(
                SampleDrawer,
                num_clips=self.sample,
                seed=self.seed,
                bits_per_token=geometry.code.bits_per_token,
            )
        return made | (self.signatures(at_hand, prefixes) if self.duplicates else {})

    def signatures(self, at_hand: DatasetAtHand, _prefixes: PrefixRule) -> dict[str, Callable[[], Collector]]:
        """The collectors to run on a dataset that is only compared with."""
        bits = at_hand.card.geometry.code.bits_per_token
        return {DUPLICATES: partial(DuplicateCollector, bits, self.radius)}
