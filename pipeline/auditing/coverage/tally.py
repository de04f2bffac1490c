"""Coverage of consecutive shards, collected from their plan, their ledgers and the lengths of rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from bitmill.pipeline.auditing.coverage.buckets import DURATIONS, RATES, bucket, resolution
from bitmill.pipeline.auditing.coverage.histograms import SCALES, HistogramTally
from bitmill.pipeline.auditing.coverage.prefixes import PrefixRule
from bitmill.pipeline.auditing.coverage.sizes import SizeTally
from bitmill.pipeline.auditing.coverage.sums import Sums, item_ns, item_sums, pending_source
from bitmill.pipeline.auditing.coverage.tables import TableTally
from bitmill.pipeline.auditing.shard.check_ledger import item_name
from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.dataset.token_counts import real_frames
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import REASON_TEXT, Outcome, Reason
from bitmill.schemas.reports.audit_report import FailureRow, ReasonRow

MAX_FAILURES = 2000
MAX_REASON_EXAMPLES = 5

OWN_TABLES = ("prefix", "media", "container", "codec", "duration", "resolution", "frame rate")

Metadata = str | None


@dataclass(frozen=True, kw_only=True)
class CoverageLayout:
    """The properties by which coverage is broken down."""

    prefixes: PrefixRule
    geometry: Geometry
    columns: tuple[str, ...] = ()
    """Metadata columns."""


@dataclass
class ReasonTally:
    """Items that are not ok for one reason."""

    failed: int = 0
    partial: int = 0
    examples: list[str] = field(default_factory=list[str])

    def merge(self, other: "ReasonTally") -> None:
        """Add those of the following shards."""
        self.failed += other.failed
        self.partial += other.partial
        self.examples.extend(other.examples[: MAX_REASON_EXAMPLES - len(self.examples)])


class CoverageTally:
    """Counts sources and items in plan order. Lists are bounded; counts are exact."""

    def __init__(self, layout: CoverageLayout) -> None:
        self.layout = layout
        self.total = Sums()
        self.tables = {by: TableTally() for by in (*OWN_TABLES, *layout.columns)}
        self.reasons: dict[str, ReasonTally] = {}
        self.failures: list[FailureRow] = []
        self.histograms = {name: HistogramTally(name) for name in SCALES}
        self.sizes = SizeTally(layout.geometry)

    def add_pending(self, source: PlannedSource) -> None:
        """Add a source that is in no committed ledger."""
        self._add(pending_source(), self._of_source(source) | self._of_metadata(source.metadata))

    def add_item(
        self, row: LedgerRow, source: PlannedSource, *, is_first: bool, metadata: Metadata = None
    ) -> None:
        """Add an item by its ledger row; ``is_first``: its source's first row; ``metadata``: its clips'."""
        sums = item_sums(row, source, is_first=is_first)
        duration_ns = item_ns(row["duration_ns"], source)
        height, width, fps = row["source_height"], row["source_width"], row["source_fps"]
        seconds = None if duration_ns is None else duration_ns / 1e9
        values = {
            "media": row["media"],
            "container": row["container"],
            "codec": row["codec"],
            "duration": bucket(seconds, DURATIONS),
            "resolution": resolution(height, width),
            "frame rate": bucket(fps, RATES),
        }
        self._add(sums, values | self._of_source(source) | self._of_metadata(metadata or source.metadata))
        for name, value in (("source height", height), ("source fps", fps), ("item duration", seconds)):
            if value is not None:
                self.histograms[name].count(value)
        if row["outcome"] != Outcome.OK:
            self._add_failure(row)

    def add_clips(self, table: pa.Table, num_tokens: Int64s) -> None:
        """Add the clips of a row group, and the number of tokens of each."""
        starts, ends = (table.column(name).to_numpy() for name in ("start_ns", "end_ns"))
        self.histograms["clip seconds"].add((ends - starts) / 1e9)
        self.histograms["clip frames"].add(real_frames(table))
        self.sizes.add(table, num_tokens)

    def merge(self, other: "CoverageTally") -> None:
        """Add the coverage of the following shards."""
        self.total.merge(other.total)
        for by, table in other.tables.items():
            self.tables[by].merge(table)
        for name, histogram in other.histograms.items():
            self.histograms[name].merge(histogram)
        self.sizes.merge(other.sizes)
        for reason, tally in other.reasons.items():
            self.reasons.setdefault(reason, ReasonTally()).merge(tally)
        self.failures.extend(other.failures[: MAX_FAILURES - len(self.failures)])

    def reason_rows(self) -> list[ReasonRow]:
        """Reasons, most items first."""
        ordered = sorted(self.reasons.items(), key=lambda pair: (-pair[1].failed - pair[1].partial, pair[0]))
        return [
            ReasonRow(
                reason=reason,
                meaning=_meaning(reason),
                failed=tally.failed,
                partial=tally.partial,
                examples=tally.examples,
            )
            for reason, tally in ordered
        ]

    def _add(self, sums: Sums, values: Mapping[str, str | None]) -> None:
        self.total.merge(sums)
        for by, table in self.tables.items():
            table.add(values.get(by), sums)

    def _of_source(self, source: PlannedSource) -> dict[str, str | None]:
        return {"prefix": self.layout.prefixes.prefix(source.uri)}

    def _of_metadata(self, metadata: Metadata) -> dict[str, str | None]:
        return metadata_values(metadata, self.layout.columns)

    def _add_failure(self, row: LedgerRow) -> None:
        tally = self.reasons.setdefault(row["reason"] or "", ReasonTally())
        tally.failed += row["outcome"] == Outcome.FAILED
        tally.partial += row["outcome"] == Outcome.PARTIAL
        if len(tally.examples) < MAX_REASON_EXAMPLES:
            tally.examples.append(item_name(row["source"], row["key"]))
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(
                FailureRow(
                    source=row["source"],
                    key=row["key"],
                    outcome=row["outcome"],
                    reason=row["reason"] or "",
                    detail=row["detail"],
                    size_bytes=row["size_bytes"],
                    media=row["media"],
                    codec=row["codec"],
                    clips=row["num_clips"],
                )
            )


def metadata_values(metadata: Metadata, columns: Sequence[str]) -> dict[str, str | None]:
    """The values of some metadata columns as text; None if missing."""
    if not columns or metadata is None:
        return {}
    try:
        found: Any = json.loads(metadata)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for name in columns
        if (value := found.get(name)) is not None
    }


def _meaning(reason: str) -> str:
    return REASON_TEXT[Reason(reason)] if reason in set(Reason) else "unknown reason"
