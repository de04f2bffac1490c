"""Integer sums over sources and their items, independent of order."""

from dataclasses import dataclass, fields

from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Outcome
from bitmill.schemas.reports.audit_report import Counts


@dataclass
class Sums:
    """The fields of ``bitmill.schemas.reports.audit_report.Counts``, with times in nanoseconds."""

    sources: int = 0
    pending: int = 0
    ok: int = 0
    partial: int = 0
    failed: int = 0
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    source_frames: int = 0
    bytes_in: int = 0
    code_bytes: int = 0
    ns_in: int = 0
    ns_out: int = 0

    def merge(self, other: "Sums") -> None:
        """Add another's sums."""
        # Written out for speed: this runs for every item and every table.
        self.sources += other.sources
        self.pending += other.pending
        self.ok += other.ok
        self.partial += other.partial
        self.failed += other.failed
        self.clips += other.clips
        self.frames += other.frames
        self.tokens += other.tokens
        self.source_frames += other.source_frames
        self.bytes_in += other.bytes_in
        self.code_bytes += other.code_bytes
        self.ns_in += other.ns_in
        self.ns_out += other.ns_out

    @property
    def items(self) -> int:
        """Number of items with an outcome."""
        return self.ok + self.partial + self.failed

    def report(self) -> Counts:
        """Convert to the report's form."""
        named = {name: getattr(self, name) for name in _NAMES if not name.startswith("ns_")}
        return Counts(**named, seconds_in=self.ns_in / 1e9, seconds_out=self.ns_out / 1e9)


_NAMES = tuple(field.name for field in fields(Sums))


def pending_source() -> Sums:
    """Sums of a source that is in no committed ledger."""
    return Sums(sources=1, pending=1)


def item_sums(row: LedgerRow, source: PlannedSource, *, is_first: bool) -> Sums:
    """Sums of one ledger row; its source counts with the first of its rows.

    A row about a tar as a whole has no bytes, because they count with its members.
    """
    is_whole_tar = source.is_archive and row["key"] is None
    return Sums(
        sources=int(is_first),
        ok=int(row["outcome"] == Outcome.OK),
        partial=int(row["outcome"] == Outcome.PARTIAL),
        failed=int(row["outcome"] == Outcome.FAILED),
        clips=row["num_clips"],
        frames=row["num_frames"],
        tokens=row["num_tokens"],
        source_frames=row["num_source_frames"],
        bytes_in=0 if is_whole_tar else _item_bytes(row, source),
        code_bytes=row["code_bytes"],
        ns_in=item_ns(row["duration_ns"], source) or 0,
        ns_out=row["tokenized_ns"],
    )


def _item_bytes(row: LedgerRow, source: PlannedSource) -> int:
    """Of a span its share of the object's, where its container tells how long that lasts."""
    duration_ns, size_bytes = row["duration_ns"], row["size_bytes"]
    taken_ns = item_ns(duration_ns, source)
    if not source.is_span or not duration_ns or taken_ns is None:
        return size_bytes
    return size_bytes * taken_ns // duration_ns


def item_ns(duration_ns: int | None, source: PlannedSource) -> int | None:
    """Duration of an item's media according to its container, limited to the planned span."""
    if duration_ns is None:
        return None
    start_ns, end_ns = source.span_ns
    last_ns = duration_ns if end_ns is None else min(duration_ns, end_ns)
    return max(0, last_ns - (start_ns or 0))
