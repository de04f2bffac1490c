"""An audit's summary on the terminal. Consoles have no markup: names of files are foreign text."""

from rich.console import Console
from rich.table import Table

from jobs.quantities import bytes_text, duration_text
from schemas.audit import KIND_TEXT, AuditReport, Finding

_MAX_EXAMPLES = 3
_MAX_ROWS = 12
_TABLES = ("prefix", "media", "codec", "resolution")
"""Those of coverage that are printed, with those of --by; the report has them all."""


def print_summary(report: AuditReport, console: Console) -> None:
    """Verdict, counts, findings with examples, reasons of failures, what to do next."""
    console.print(f"{report.verdict}: {report.dataset}", soft_wrap=True)
    console.print(_totals(report))
    for table in report.coverage.tables:
        is_asked_for = table.by in _TABLES or table.by not in _OWN
        if is_asked_for and len(table.rows) > 1:
            rows = Table(table.by, "sources", "ok", "partial", "failed", "clips", box=None, pad_edge=False)
            for row in table.rows[:_MAX_ROWS]:
                counts = row.counts
                numbers = (counts.sources, counts.ok, counts.partial, counts.failed, counts.clips)
                rows.add_row(row.value or "(unknown)", *(f"{number:,}" for number in numbers))
            console.print()
            console.print(rows)
    if report.findings:
        console.print()
        console.print(_findings(report))
    for findings in report.findings:
        for example in findings.examples[:_MAX_EXAMPLES]:
            console.print(f"{findings.kind}: {_place(example)}", soft_wrap=True)
    if report.coverage.reasons:
        reasons = Table("reason", "failed", "partial", "meaning", box=None, pad_edge=False)
        for reason in report.coverage.reasons:
            reasons.add_row(reason.reason, str(reason.failed), str(reason.partial), reason.meaning)
        console.print()
        console.print(reasons)
    sentences = (*report.coverage.next_steps, *report.left_out)
    if sentences:
        console.print()
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)


_OWN = ("prefix", "media", "container", "codec", "duration", "resolution", "frame rate")


def _totals(report: AuditReport) -> Table:
    total = report.coverage.total
    rows = [
        ("shards", f"{report.shards_committed:,} of {report.shards_planned:,}, {report.shards_read:,} whole"),
        ("sources", f"{total.sources:,} planned, {total.pending:,} pending"),
        ("items", f"{total.ok:,} ok, {total.partial:,} partial, {total.failed:,} failed"),
        ("in", f"{duration_text(total.seconds_in)}, {bytes_text(total.bytes_in)}"),
        ("out", f"{duration_text(total.seconds_out)}, {bytes_text(total.code_bytes)} of codes"),
        ("tokens", f"{total.tokens:,} in {total.frames:,} frames of {total.clips:,} clips"),
        ("tokenizer", report.tokenizer_fingerprint),
    ]
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    return table


def _findings(report: AuditReport) -> Table:
    table = Table("finding", "count", "severity", "meaning", box=None, pad_edge=False)
    for findings in report.findings:
        table.add_row(findings.kind, f"{findings.count:,}", findings.severity, KIND_TEXT[findings.kind])
    return table


def _place(example: Finding) -> str:
    where = ", ".join(part for part in (example.file, example.where) if part)
    return f"{where}: {example.detail}" if where else example.detail
