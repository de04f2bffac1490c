"""Shows the progress of an audit; writes its report, page and images."""

import time

from bitmill.jobs.console import Console
from bitmill.jobs.execution.audit_dataset import AuditRequest, MadeAudit, run_audit
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.units import bytes_text, duration_text, rate_text
from bitmill.jobs.scheduling.signals import stoppable
from bitmill.pipeline.auditing.page import render_page
from bitmill.pipeline.auditing.parallel import AuditProgress
from bitmill.pipeline.storage import Folder

AUDIT_FILE, PAGE_FILE = "audit.json", "audit.html"


NOT_WRITTEN = "nothing was written; pass --out FOLDER to keep the report and its page."


def show_audit(dataset: str, request: AuditRequest, console: Console) -> MadeAudit:
    """Run an audit with its progress on the console. Raises what ``run_audit`` raises."""
    latest, since = time.monotonic(), dict[str, float]()
    with stoppable(kept="nothing was written"), LiveLine(console) as line:

        def show(uri: str, progress: AuditProgress) -> None:
            nonlocal latest
            # A dataset's audit begins when the previous one ends.
            began, latest = since.setdefault(uri, latest), time.monotonic()
            seconds = latest - began
            named = "" if uri == Folder(dataset).uri else f"{uri}: "
            line.show(lambda: named + progress_line(progress, seconds))

        return run_audit(dataset, request, on_progress=show, notify=lambda text: line.show(lambda: text))


def write_audit(made: MadeAudit, out: Folder) -> list[str]:
    """Write the page, other files and, last, the report. Returns the paths of report and page."""
    pictures = {name: data for name, data in made.files.items() if name.endswith(".webp")}
    page = render_page(made.report, pictures).encode()
    for name, data in {**made.files, PAGE_FILE: page, AUDIT_FILE: made.report.to_json()}.items():
        out.write_bytes(name, data)
    out.sweep_staging()
    return [f"{out.uri}/{name}" for name in (AUDIT_FILE, PAGE_FILE)]


def progress_line(progress: AuditProgress, seconds: float) -> str:
    """Returns the progress of an audit after ``seconds``: shards, clips, rates, remaining time."""
    seconds = max(seconds, 1e-9)
    left = (progress.shards - progress.done_shards) * seconds / max(1, progress.done_shards)
    return (
        f"{progress.done_shards:,}/{progress.shards:,} shards · {progress.done_clips:,} clips "
        f"({rate_text(progress.done_clips / seconds)}/s), "
        f"{bytes_text(round(progress.done_bytes / seconds))}/s · {duration_text(left)} left"
    )
