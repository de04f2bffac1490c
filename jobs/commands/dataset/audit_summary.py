"""Prints an audit's summary on the terminal."""

from collections.abc import Iterator

from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.progress.summary import print_pairs
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.schemas.counted import counted
from bitmill.schemas.reports.audit_findings import KIND_TEXT, Finding
from bitmill.schemas.reports.audit_report import DIMENSION, UNITS, AuditReport, CodeHealth, Coverage, Sample

_MAX_EXAMPLES = 3
_MAX_ROWS = 12
_TABLES = ("prefix", "media", "codec", "resolution")
"""The coverage tables that are printed, besides those of --by; the report contains all."""


def print_summary(report: AuditReport, console: Console) -> None:
    """Print verdict, counts, findings with examples, reasons of failures, and next steps."""
    console.print(f"{report.verdict}: {report.dataset}", soft_wrap=True)
    print_pairs(_totals(report), console)
    for table in report.coverage.tables:
        is_asked_for = table.by not in _OWN
        if is_asked_for or (table.by in _TABLES and len(table.rows) > 1):
            rows = Table(table.by, "sources", "ok", "partial", "failed", "clips", box=None, pad_edge=False)
            for row in table.rows[:_MAX_ROWS]:
                counts = row.counts
                numbers = (counts.sources, counts.ok, counts.partial, counts.failed, counts.clips)
                rows.add_row(row.value or "(unknown)", *(f"{number:,}" for number in numbers))
            console.print()
            console.print(rows)
    if report.coverage.num_sizes > 1:
        console.print()
        console.print(_sizes(report))
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
    for lines in (list(closer_look(report)), [*report.coverage.next_steps, *report.left_out]):
        if lines:
            console.print()
        for line in lines:
            console.print(line, soft_wrap=True)


_OWN = ("prefix", "media", "container", "codec", "duration", "resolution", "frame rate")


def closer_look(report: AuditReport) -> Iterator[str]:
    """Yields a line for each optional part of the report: codes, duplicates, sample, sources."""
    if report.codes:
        yield f"codes      {_codes(report, report.codes)}"
    if report.duplicates:
        found = report.duplicates
        listed = f"; listed in {found.list_file}" if found.exact_clips + found.near_clips else ""
        yield (
            f"duplicates {found.exact_clips:,} exact, {found.near_clips:,} within {found.radius:.1%} of the "
            f"bits{listed}"
        )
    if report.sample:
        yield f"sample     {_sample(report, report.sample)}"
    if report.sources:
        check = report.sources
        yield (
            f"sources    {check.checked:,} checked: {check.gone:,} gone, {check.changed:,} changed, "
            f"{check.unplanned:,} not planned"
        )


def _codes(report: AuditReport, codes: CodeHealth) -> str:
    told: list[str] = []
    if codes.entropies and codes.kind != "index":
        weakest = min(range(len(codes.entropies)), key=codes.entropies.__getitem__)
        mean, name = sum(codes.entropies) / len(codes.entropies), DIMENSION[codes.kind]
        told.append(f"weakest {name} {codes.entropies[weakest]:.3f} ({name} {weakest}), mean {mean:.3f} of 1")
    if codes.order0_bits_per_token is not None:
        told.append(f"{codes.order0_bits_per_token:.2f} of {codes.bits_per_token} bits per token at order 0")
    about = "" if codes.used_codes_error == 0 else "about "
    told.append(f"{about}{counted(codes.used_codes, 'code')} used")
    rows = "frames" if report.geometry is None or report.geometry.frames_per_token == 1 else "token rows"
    repeat = f"{codes.repeated_frames:,} of {codes.pairs_of_frames:,} {rows} repeat"
    return "; ".join([*told, f"{repeat}, {counted(codes.still_clips, 'still clip')}"])


def _sample(report: AuditReport, sample: Sample) -> str:
    if not sample.compared and sample.note is not None:
        return sample.note
    scores = (
        ("PSNR {:.2f} dB", sample.psnr_db),
        ("SSIM {:.4f}", sample.ssim),
        ("LPIPS {:.4f}", sample.lpips),
    )
    told = [form.format(value) for form, value in scores if value is not None]
    units = UNITS[report.geometry.code.kind if report.geometry else "bits"]
    told.append(f"{sample.differing_bits:,} of {sample.num_bits:,} {units} differ when tokenized again")
    return f"{sample.compared:,} of {counted(sample.num_clips, 'clip')} compared: {', '.join(told)}"


def _totals(report: AuditReport) -> list[tuple[str, str]]:
    total = report.coverage.total
    return [
        ("shards", f"{report.shards_committed:,} of {report.shards_planned:,}, {report.shards_read:,} whole"),
        ("sources", f"{total.sources:,} planned, {total.pending:,} pending"),
        ("items", f"{total.ok:,} ok, {total.partial:,} partial, {total.failed:,} failed"),
        ("in", f"{duration_text(total.seconds_in)} of playing time, {bytes_text(total.bytes_in)}"),
        (
            "out",
            f"{duration_text(total.seconds_out)} of playing time, {bytes_text(total.code_bytes)} of codes",
        ),
        ("tokens", f"{total.tokens:,} in {counted(total.frames, 'frame')} of {counted(total.clips, 'clip')}"),
        ("frames", _pictures(report.coverage)),
        ("tokenizer", report.tokenizer_fingerprint),
    ]


def _pictures(coverage: Coverage) -> str:
    sizes = f"of {counted(coverage.num_sizes, 'size')}"
    if coverage.num_sizes == 1:
        (size,) = coverage.sizes
        sizes = f"of {size.height_px}×{size.width_px} px"
    cropped = "" if coverage.cropped is None else f", {coverage.cropped:.1%} of the picture cropped away"
    return f"{sizes}{cropped}, {coverage.padded_frames:,} of padding"


def _sizes(report: AuditReport) -> Table:
    columns = ("frame size", "clips", "frames", "padding", "tokens", "codes", "cropped")
    table = Table(*columns, box=None, pad_edge=False)
    for size in report.coverage.sizes[:_MAX_ROWS]:
        numbers = (size.clips, size.frames, size.padded_frames, size.tokens)
        table.add_row(
            f"{size.height_px}×{size.width_px}",
            *(f"{number:,}" for number in numbers),
            bytes_text(size.code_bytes),
            "" if size.cropped is None else f"{size.cropped:.1%}",
        )
    return table


def _findings(report: AuditReport) -> Table:
    table = Table("finding", "count", "severity", "meaning", box=None, pad_edge=False)
    for findings in report.findings:
        table.add_row(findings.kind, f"{findings.count:,}", findings.severity, KIND_TEXT[findings.kind])
    return table


def _place(example: Finding) -> str:
    where = ", ".join(part for part in (example.file, example.where) if part)
    return f"{where}: {example.detail}" if where else example.detail
