"""What ``bitmill evaluate`` writes and prints: reports, the sheet of pictures, a table of all tokenizers."""

from collections.abc import Sequence
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.pipeline.evaluation.comparison_sheet import write_sheet
from bitmill.pipeline.evaluation.run_evaluation import Shown
from bitmill.schemas.counted import counted
from bitmill.schemas.reports.evaluation_report import EvaluationReport
from bitmill.schemas.staged_file import write_staged

REPORT_FILE, SHEET_FILE = "report.json", "pictures.png"

_COLUMNS = {
    "bits_per_pixel": ("bit/pixel", "{:.3f}"),
    "psnr_db": ("PSNR dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
    "lpips": ("LPIPS", "{:.4f}"),
    "fid": ("FID", "{:.2f}"),
    "fd_effnetlite0": ("FD-EffNetLite0", "{:.2f}"),
    "fvd": ("FVD", "{:.1f}"),
}


def write_report(report: EvaluationReport, folder: Path) -> None:
    """Write ``report.json``, and the folder if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_staged(folder / REPORT_FILE, (report.model_dump_json(indent=2) + "\n").encode())


def write_pictures(shown: Sequence[Sequence[Shown]], folder: Path) -> None:
    """Write ``pictures.png``: of each picture a row for each tokenizer, whose pictures are given."""
    rows = [entry for entry in chain.from_iterable(zip_longest(*shown)) if entry is not None]
    if rows:
        write_sheet(rows, folder / SHEET_FILE)


def print_reports(reports: Sequence[EvaluationReport], clips: Sequence[str], console: Console) -> None:
    """Print a table of all rows, then each tokenizer's details; ``clips`` are the shapes of their clips."""
    _print_table(reports, clips, console)
    say = partial(console.print, soft_wrap=True)
    for report in reports:
        if len(reports) > 1:
            say(f"tokenizer  {report.rows[0].name}")
        _print_details(report, console)
    for sentence in dict.fromkeys(sentence for report in reports for sentence in report.left_out):
        say(f"left out   {sentence}")


def _print_table(reports: Sequence[EvaluationReport], clips: Sequence[str], console: Console) -> None:
    rows = [(row, shape) for report, shape in zip(reports, clips, strict=True) for row in report.rows]
    shown = [name for name in _COLUMNS if any(getattr(row, name) is not None for row, _ in rows)]
    compares = len(reports) > 1
    differ = len({row.clips for row, _ in rows}) > 1
    extra = [*(["frames"] if compares else []), *(["clips"] if differ else [])]
    heads = [*extra, *(_COLUMNS[name][0] for name in shown)]
    table = Table("", *heads, box=None, pad_edge=False)
    for row, shape in rows:
        values = [getattr(row, name) for name in shown]
        texts = [
            _COLUMNS[name][1].format(value) if value is not None else "–"
            for name, value in zip(shown, values, strict=True)
        ]
        extra = [*([shape] if compares else []), *([str(row.clips)] if differ else [])]
        table.add_row(row.name, *extra, *texts)
    console.print(table)


def _print_details(report: EvaluationReport, console: Console) -> None:
    say = partial(console.print, soft_wrap=True)
    code = report.code
    say(
        f"sources    {report.sources}: {report.ok} ok, {len(report.failures)} not ok; "
        f"{counted(report.clips, 'clip')}, {counted(report.frames, 'frame')}"
    )
    for failed in report.failures:
        say(f"  {failed.outcome} {failed.uri}: {failed.reason}: {failed.detail}")
    say(
        f"{report.config.geometry.code.kind:<11}"
        f"weakest {code.weakest_bit:.3f}, mean {code.mean_bit:.3f} of 1; "
        f"{counted(code.used_codes, 'code')} in {counted(code.tokens, 'token')}, "
        f"{code.code_entropy_bits:.2f} bits per token"
    )
    if report.throughput is not None:
        speed = report.throughput
        say(
            f"speed      encode {speed.encode_frames_per_s:.1f}, reconstruct "
            f"{speed.reconstruct_frames_per_s:.1f} frames/s on {speed.device}, "
            f"{counted(speed.threads, 'thread')}"
        )
    if report.origin is not None and report.origin.note is not None:
        say(f"note       {report.origin.note}")
