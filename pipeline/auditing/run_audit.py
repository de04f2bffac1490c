"""Runs an audit: dataset-wide files first, then every shard, then the verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitmill.pipeline.auditing.check_dataset import DatasetAtHand, check_totals, look_at_dataset
from bitmill.pipeline.auditing.coverage.prefixes import PrefixRule, prefix_rule
from bitmill.pipeline.auditing.coverage.tally import OWN_TABLES, CoverageLayout
from bitmill.pipeline.auditing.parallel import AuditProgress, ShardReaders, merge_all
from bitmill.pipeline.auditing.result import ShardsAudit
from bitmill.pipeline.auditing.shard.collector_protocol import Collector, Collectors
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.auditing.shard_auditor import ShardAuditor
from bitmill.pipeline.auditing.verdict import verdict_of
from bitmill.pipeline.decode.pixels.frame_sizes import stored_frame_sizes
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.token_shard import ShardMetadata
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_report import AuditReport, Coverage, audit_version

OnProgress = Callable[[AuditProgress], None]

ChooseCollectors = Callable[[DatasetAtHand, PrefixRule], Collectors]
"""Makes the collectors from a listed dataset and the folders by which sources are counted."""


def no_collectors(_at_hand: DatasetAtHand, _prefixes: PrefixRule) -> Collectors:
    """Collect nothing from codes; only their checksums and lengths are checked."""
    return {}


@dataclass(kw_only=True)
class DatasetAudit:
    """The findings of a dataset's files; more may be added before the report is made."""

    at_hand: DatasetAtHand
    shards: ShardsAudit
    found: FindingTally
    """Findings of the dataset as a whole, then of its shards in plan order."""

    @property
    def collected(self) -> dict[str, Collector]:
        """The collectors with their results, by name."""
        return self.shards.collected

    def report(self, *, bitmill_version: str, created: str, seconds: float, **parts: Any) -> AuditReport:
        """The report with its verdict; ``parts`` are further fields of ``AuditReport``."""
        card, coverage = self.at_hand.card, self.shards.coverage
        findings = self.found.report()
        verdict, exit_code = verdict_of(findings)
        histograms = [tally.report() for tally in coverage.histograms.values()]
        return AuditReport(
            format_version=audit_version(parts.get("codes")),
            bitmill_version=bitmill_version,
            created=created,
            seconds=seconds,
            dataset=self.at_hand.folder.uri,
            verdict=verdict,
            exit_code=exit_code,
            tokenizer_fingerprint=card.tokenizer_fingerprint,
            tokenizer=card.tokenizer.model_dump(mode="json"),
            geometry=card.geometry,
            job=card.job,
            shards_planned=card.num_shards,
            shards_committed=self.shards.committed,
            shards_read=self.shards.read,
            removals=self.at_hand.removed.num_clips,
            coverage=Coverage(
                total=coverage.total.report(),
                tables=[table.report(by) for by, table in coverage.tables.items()],
                reasons=coverage.reason_rows(),
                failures=coverage.failures,
                histograms=[histogram for histogram in histograms if histogram is not None],
                sizes=coverage.sizes.report(),
                num_sizes=coverage.sizes.num_sizes,
                padded_frames=coverage.sizes.padded_frames,
                cropped=coverage.sizes.cropped,
                next_steps=list(self.shards.steps.sentences(has_totals=card.totals is not None)),
            ),
            findings=findings,
            **parts,
        )


def audit_dataset(
    folder: Folder,
    *,
    readers: ShardReaders,
    workers: int,
    columns: tuple[str, ...] = (),
    collectors: ChooseCollectors = no_collectors,
    on_progress: OnProgress = lambda _: None,
) -> DatasetAudit:
    """Read every file of a dataset once.

    ``readers`` runs shards on about ``workers`` processes; ``columns`` are metadata columns that break
    coverage down further; ``collectors`` chooses what is collected from codes, once the plan is known. The
    result does not depend on how the work was distributed. Raises UsageError if the folder is not a dataset,
    FormatError if its card cannot be read, and the store's errors.
    """
    for column in columns:
        if column in OWN_TABLES:
            raise UsageError(f"Coverage by {column} is always included; --by takes columns of the metadata.")
    found = FindingTally()
    at_hand = look_at_dataset(folder, found)
    auditor = auditor_of(at_hand, columns=columns, collectors=collectors)
    shards = merge_all(auditor, at_hand.shards, readers, workers=workers, on_progress=on_progress)
    found.merge(shards.found)
    if at_hand.plan_is_whole and shards.totals_known:
        check_totals(at_hand.card, shards.totals, found)
    return DatasetAudit(at_hand=at_hand, shards=shards, found=found)


def auditor_of(
    at_hand: DatasetAtHand, *, columns: tuple[str, ...] = (), collectors: ChooseCollectors = no_collectors
) -> ShardAuditor:
    """The auditor for a dataset's shards."""
    card = at_hand.card
    geometry, version = card.geometry, card.shard_version
    metadata = ShardMetadata(
        format_version=version,
        layout=geometry.layout,
        patch_px=geometry.patch_px,
        frames_per_token=geometry.frames_per_token,
        code=geometry.code,
        schedules=geometry.schedules,
        pixel_rule=card.pixel_rule if version > 1 else None,
        tokenizer_fingerprint=at_hand.tokenizer_fingerprint,
        job_fingerprint=at_hand.job_fingerprint,
        shard_id="",
    )
    prefixes = prefix_rule(source.uri for shard in at_hand.plan for source in shard.sources)
    return ShardAuditor(
        folder=at_hand.folder,
        metadata=metadata,
        geometry=geometry,
        sizes=stored_frame_sizes(card),
        sampling_rule=card.sampling_rule,
        over_committed=at_hand.over_committed,
        over_plan=at_hand.over_plan,
        removed=at_hand.removed,
        layout=CoverageLayout(prefixes=prefixes, geometry=geometry, columns=tuple(dict.fromkeys(columns))),
        collectors=collectors(at_hand, prefixes),
    )
