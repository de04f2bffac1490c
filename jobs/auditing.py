"""``bitmill audit``: what a dataset holds, lacks and is worth, as a report, a page and a summary."""

import importlib
import importlib.util
import os
import time
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from jobs.live_line import LiveLine
from jobs.quantities import bytes_text, duration_text, rate_text
from jobs.stopping import heed_sigterm, stoppable

if TYPE_CHECKING:
    from pipeline.auditing.run import DatasetAudit, Tell
    from pipeline.auditing.sharing import AuditProgress
    from schemas.audit import AuditReport

AUDIT_FILE = "audit.json"
PAGE_FILE = "audit.html"

_PAGE = "pipeline.auditing.page"


def audit(
    dataset: Annotated[str, typer.Argument(help="A dataset folder.")],
    out: Annotated[
        str, typer.Option("--out", help="Folder for audit.json and audit.html, local or on a store.")
    ] = "audit",
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="Break coverage down by a metadata column, too."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Have a Ray cluster read the shards.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes (or Ray tasks) at once; default: one a CPU."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read every file of a dataset and say whether it is whole: 0 sound, 3 incomplete, 4 damaged."""
    from jobs.audit_summary import print_summary
    from pipeline.storage import Folder

    console = Console(highlight=False, markup=False, soft_wrap=True, stderr=as_json)
    folder, started = Folder(dataset), time.monotonic()
    with stoppable(kept="nothing was written"), LiveLine(console) as shown:
        view = _View(shown)
        found = _audit(folder.uri, columns=tuple(by or ()), address=address, workers=workers, tell=view.show)
        report = found.report(
            bitmill_version=metadata.version("bitmill"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 3),
        )
        written = write_report(report, Folder(out))
    if as_json:
        # Not by rich, which would wrap it.
        print(report.to_json().decode(), end="")
    else:
        print_summary(report, console)
        console.print(f"wrote {', '.join(written)}")
    raise typer.Exit(report.exit_code)


def write_report(report: "AuditReport", out: Any) -> list[str]:
    """Publish the report, and its page, into a ``Folder``; gives where they are."""
    files = {AUDIT_FILE: report.to_json()}
    if importlib.util.find_spec(_PAGE) is not None:
        files[PAGE_FILE] = importlib.import_module(_PAGE).render_page(report, {}).encode()
    for name, data in files.items():
        out.write_bytes(name, data)
    return [f"{out.uri}/{name}" for name in files]


def _audit(
    uri: str, *, columns: tuple[str, ...], address: str | None, workers: int | None, tell: "Tell"
) -> "DatasetAudit":
    from pipeline.auditing.run import audit_dataset
    from pipeline.auditing.sharing import LocalProcesses
    from pipeline.storage import Folder

    if address is None:
        count = workers or len(os.sched_getaffinity(0))
        sharing = LocalProcesses(count)
        return audit_dataset(Folder(uri), sharing=sharing, workers=count, columns=columns, tell=tell)
    from jobs.cluster.auditing import ClusterTasks
    from jobs.cluster.session import Cluster

    with Cluster(address) as cluster:
        heed_sigterm()
        count = workers or max(1, cluster.capacity().cpus)
        tasks = ClusterTasks(count)
        return audit_dataset(Folder(uri), sharing=tasks, workers=count, columns=columns, tell=tell)


class _View:
    """Progress as a line: shards, clips, rate, remaining time."""

    def __init__(self, line: LiveLine) -> None:
        self._line = line
        self._since = time.monotonic()

    def show(self, progress: "AuditProgress") -> None:
        self._line.show(lambda: progress_line(progress, time.monotonic() - self._since))


def progress_line(progress: "AuditProgress", seconds: float) -> str:
    """How far an audit is after so many seconds."""
    seconds = max(seconds, 1e-9)
    left = (progress.shards - progress.done_shards) * seconds / max(1, progress.done_shards)
    return (
        f"{progress.done_shards:,}/{progress.shards:,} shards · {progress.done_clips:,} clips "
        f"({rate_text(progress.done_clips / seconds)}/s), "
        f"{bytes_text(round(progress.done_bytes / seconds))}/s · {duration_text(left)} left"
    )
