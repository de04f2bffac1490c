"""An audit carried out: shards read by processes or a cluster, a closer look, files beside the report."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.judge_networks import find_lpips
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.units import bytes_text, duration_text, rate_text
from bitmill.jobs.scheduling.signals import handle_sigterm, stoppable
from bitmill.pipeline.auditing.options import AuditOptions
from bitmill.pipeline.auditing.page import render_page
from bitmill.pipeline.auditing.parallel import AuditProgress, LocalProcesses, ShardReaders
from bitmill.pipeline.auditing.report_sections import ReportSections, add_report_sections
from bitmill.pipeline.auditing.run_audit import ChooseCollectors, DatasetAudit, audit_dataset
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.storage import Folder, scratch_folder
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_report import AuditReport

AUDIT_FILE, PAGE_FILE = "audit.json", "audit.html"

NOT_WRITTEN = "nothing was written; --out FOLDER keeps the report and makes its page."


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """What the command line asked for, the dataset apart."""

    columns: tuple[str, ...]
    asked: AuditOptions
    address: str | None
    workers: int | None


@dataclass(frozen=True, kw_only=True)
class MadeAudit:
    """A report, and the files that go with it by name."""

    report: AuditReport
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])


def run_audit(dataset: str, request: AuditRequest, console: Console) -> MadeAudit:
    """Audit one dataset. Raises what ``audit_dataset`` and ``add_report_sections`` raise."""
    started = time.monotonic()
    with (
        stoppable(kept="nothing was written"),
        LiveLine(console) as line,
        _readers(request) as (readers, workers),
        scratch_folder() as work,
    ):
        auditing = _Auditing(readers, workers, line)
        asked = request.asked
        others = [
            (uri, auditing.audit(uri, asked.signatures, doing=f"{uri}: ")) for uri in map(_uri, asked.against)
        ]
        audit = auditing.audit(dataset, asked.collectors, columns=request.columns)
        _check_comparable(audit, others)
        parts = add_report_sections(
            audit,
            asked,
            others=others,
            lpips=find_lpips() if asked.sample else None,
            work=work,
            tell=lambda text: line.show(lambda: text),
        )
        report = _report(audit, parts, seconds=time.monotonic() - started)
    return MadeAudit(report=report, files=parts.files)


def write_audit(made: MadeAudit, out: Folder) -> list[str]:
    """Publish report, page and what goes with them; gives where the two are. The report comes last."""
    pictures = {name: data for name, data in made.files.items() if name.endswith(".webp")}
    page = render_page(made.report, pictures).encode()
    for name, data in {**made.files, PAGE_FILE: page, AUDIT_FILE: made.report.to_json()}.items():
        out.write_bytes(name, data)
    out.sweep_staging()
    return [f"{out.uri}/{name}" for name in (AUDIT_FILE, PAGE_FILE)]


def _report(audit: DatasetAudit, parts: ReportSections, *, seconds: float) -> AuditReport:
    return audit.report(
        bitmill_version=metadata.version("bitmill"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        codes=parts.codes,
        duplicates=parts.duplicates,
        sample=parts.sample,
        sources=parts.sources,
        left_out=parts.left_out,
    )


def _uri(dataset: str) -> str:
    return Folder(dataset).uri


def _check_comparable(audit: DatasetAudit, others: list[tuple[str, DatasetAudit]]) -> None:
    own = audit.at_hand
    for uri, other in others:
        if uri == own.folder.uri:
            raise UsageError(
                f"--against {uri} is the audited dataset itself; its own clips are compared anyway."
            )
        if other.at_hand.tokenizer_fingerprint != own.tokenizer_fingerprint:
            raise UsageError(
                f"--against {uri} was made by another tokenizer than {own.folder.uri}; their codes cannot be "
                "compared."
            )


@contextmanager
def _readers(request: AuditRequest) -> Generator[tuple[ShardReaders, int]]:
    """Who reads shards, and how many at once."""
    if request.address is None:
        count = request.workers or available_cpus()
        yield LocalProcesses(count), count
        return
    from bitmill.jobs.cluster.audit_tasks import ClusterTasks
    from bitmill.jobs.cluster.connection.session import Cluster

    with Cluster(request.address) as cluster:
        handle_sigterm()
        count = request.workers or max(1, cluster.capacity().cpus)
        yield ClusterTasks(count), count


class _Auditing:
    """Audits datasets one after the other, in one session, with progress as a line."""

    def __init__(self, readers: ShardReaders, workers: int, line: LiveLine) -> None:
        self._readers, self._workers, self._line = readers, workers, line

    def audit(
        self, dataset: str, collectors: ChooseCollectors, *, columns: tuple[str, ...] = (), doing: str = ""
    ) -> DatasetAudit:
        since = time.monotonic()

        def tell(progress: AuditProgress) -> None:
            self._line.show(lambda: doing + progress_line(progress, time.monotonic() - since))

        return audit_dataset(
            Folder(dataset),
            readers=self._readers,
            workers=self._workers,
            columns=columns,
            collectors=collectors,
            tell=tell,
        )


def progress_line(progress: AuditProgress, seconds: float) -> str:
    """How far an audit is after so many seconds: shards, clips, rate, remaining time."""
    seconds = max(seconds, 1e-9)
    left = (progress.shards - progress.done_shards) * seconds / max(1, progress.done_shards)
    return (
        f"{progress.done_shards:,}/{progress.shards:,} shards · {progress.done_clips:,} clips "
        f"({rate_text(progress.done_clips / seconds)}/s), "
        f"{bytes_text(round(progress.done_bytes / seconds))}/s · {duration_text(left)} left"
    )
