"""``bitmill audit --compare``: compares two datasets, or two tokenizers on the same sources."""

from rich.table import Table

from bitmill.jobs.commands.dataset.audit_output import AUDIT_FILE, NOT_WRITTEN, show_audit, write_audit
from bitmill.jobs.console import Console
from bitmill.jobs.execution.audit_dataset import AuditRequest
from bitmill.jobs.progress.units import bytes_text
from bitmill.pipeline.auditing.page import render_comparison
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_report import AuditReport, CodeHealth, read_audit

COMPARISON_FILE = "comparison.html"


def compare_audits(
    names: tuple[str, str], request: AuditRequest, out: Folder | None, console: Console
) -> None:
    """Print the comparison, and write it to ``out`` if given.

    Datasets are audited first; their reports go into a/ and b/ of ``out``.
    """
    first, second = (
        _report_of(name, request, None if out is None else Folder(f"{out.uri}/{side}"), console)
        for name, side in zip(names, "ab", strict=True)
    )
    if out is not None:
        out.write_bytes(COMPARISON_FILE, render_comparison(first, second).encode())
    console.print(_table(first, second))
    console.print(NOT_WRITTEN if out is None else f"wrote {out.uri}/{COMPARISON_FILE}")


def _report_of(name: str, request: AuditRequest, out: Folder | None, console: Console) -> AuditReport:
    """Returns the report of an audit.json, of a folder that contains one, or of a dataset, audited now."""
    if name.endswith(".json"):
        folder, _, file = name.rpartition("/")
        return _stored(Folder(folder or "."), file)
    folder = Folder(name)
    if not folder.exists(DATASET_FILE) and folder.exists(AUDIT_FILE):
        return _stored(folder, AUDIT_FILE)
    made = show_audit(name, request, console)
    if out is not None:
        write_audit(made, out)
    return made.report


def _stored(folder: Folder, file: str) -> AuditReport:
    try:
        return read_audit(folder.read_bytes(file), origin=f"{folder.uri}/{file}")
    except FileNotFoundError as error:
        raise UsageError(f"{folder.uri}/{file} does not exist; give an audit.json or a dataset.") from error


def _table(first: AuditReport, second: AuditReport) -> Table:
    table = Table("", first.dataset, second.dataset, box=None, pad_edge=False)
    for name, a, b in zip(_ROWS, _column(first), _column(second), strict=True):
        if (a, b) != (_NONE, _NONE):
            table.add_row(name, a, b)
    return table


_NONE = "–"
_ROWS = (
    "verdict",
    "items ok, partial, failed",
    "clips",
    "tokens",
    "codes",
    "weakest entropy of a bit or digit",
    "order-0 bits per token",
    "used codes",
    "duplicates, exact and near",
    "sample PSNR dB",
    "sample SSIM",
    "sample LPIPS",
    "sample's differing codes",
)


def _column(report: AuditReport) -> list[str]:
    total, codes = report.coverage.total, report.codes
    duplicates, sample = report.duplicates, report.sample
    return [
        report.verdict,
        f"{total.ok:,}, {total.partial:,}, {total.failed:,}",
        f"{total.clips:,}",
        f"{total.tokens:,}",
        bytes_text(total.code_bytes),
        f"{min(codes.entropies):.3f}" if codes and codes.entropies else _NONE,
        _order0(codes) if codes else _NONE,
        f"{codes.used_codes:,}" if codes else _NONE,
        f"{duplicates.exact_clips:,}, {duplicates.near_clips:,}" if duplicates else _NONE,
        _number(sample.psnr_db, "{:.2f}") if sample else _NONE,
        _number(sample.ssim, "{:.4f}") if sample else _NONE,
        _number(sample.lpips, "{:.4f}") if sample else _NONE,
        f"{sample.differing_bits:,} of {sample.num_bits:,}" if sample else _NONE,
    ]


def _order0(codes: CodeHealth) -> str:
    bits = codes.order0_bits_per_token
    return _NONE if bits is None else f"{bits:.2f} of {codes.bits_per_token}"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else form.format(value)
