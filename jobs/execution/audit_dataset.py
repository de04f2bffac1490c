"""Audits one dataset with local processes or a Ray cluster; prints nothing."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import metadata

from bitmill.jobs.preparation.models.metric_networks import find_lpips
from bitmill.jobs.scheduling.signals import handle_sigterm
from bitmill.pipeline.auditing.options import AuditOptions
from bitmill.pipeline.auditing.parallel import AuditProgress, LocalProcesses, ShardReaders
from bitmill.pipeline.auditing.report_sections import add_report_sections
from bitmill.pipeline.auditing.run_audit import ChooseCollectors, DatasetAudit, audit_dataset
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.storage import Folder, scratch_folder
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_report import AuditReport

OnAuditProgress = Callable[[str, AuditProgress], None]


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """The options and resources of an audit, without the dataset."""

    columns: tuple[str, ...] = ()
    asked: AuditOptions = field(default_factory=AuditOptions)
    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class MadeAudit:
    """A report, and the contents of its files by name."""

    report: AuditReport
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])


def run_audit(
    dataset: str,
    request: AuditRequest,
    *,
    on_progress: OnAuditProgress = lambda _uri, _progress: None,
    notify: Callable[[str], None] = lambda _: None,
) -> MadeAudit:
    """Audit one dataset.

    ``on_progress`` receives a dataset's URI and its progress, ``notify`` a sentence for each later step,
    both in the calling thread. Raises what ``audit_dataset`` and ``add_report_sections`` raise.
    """
    started = time.monotonic()
    with _readers(request) as (readers, workers), scratch_folder() as work:
        auditing = _Auditing(readers, workers, on_progress)
        asked = request.asked
        others = [
            (uri, auditing.audit(uri, asked.signatures))
            for uri in (Folder(dataset).uri for dataset in asked.against)
        ]
        audit = auditing.audit(dataset, asked.collectors, columns=request.columns)
        _check_comparable(audit, others)
        parts = add_report_sections(
            audit,
            asked,
            others=others,
            lpips=find_lpips() if asked.sample else None,
            work=work,
            notify=notify,
        )
        report = audit.report(
            bitmill_version=metadata.version("bitmill"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 3),
            codes=parts.codes,
            duplicates=parts.duplicates,
            sample=parts.sample,
            sources=parts.sources,
            left_out=parts.left_out,
        )
    return MadeAudit(report=report, files=parts.files)


def _check_comparable(audit: DatasetAudit, others: list[tuple[str, DatasetAudit]]) -> None:
    own = audit.at_hand
    for uri, other in others:
        if uri == own.folder.uri:
            raise UsageError(
                f"--against {uri} is the audited dataset; leave it out, its own clips are always compared."
            )
        if other.at_hand.tokenizer_fingerprint != own.tokenizer_fingerprint:
            raise UsageError(
                f"--against {uri} and {own.folder.uri} have different tokenizers; their codes cannot be "
                "compared."
            )


@contextmanager
def _readers(request: AuditRequest) -> Generator[tuple[ShardReaders, int]]:
    """Yields the shard readers and how many work in parallel."""
    if request.address is None:
        count = request.workers or available_cpus()
        yield LocalProcesses(count), count
        return
    from bitmill.jobs.cluster.audit_tasks import ClusterTasks
    from bitmill.jobs.cluster.connection.ray_session import Cluster

    with Cluster(request.address) as cluster:
        handle_sigterm()
        count = request.workers or max(1, cluster.capacity().cpus)
        yield ClusterTasks(count), count


class _Auditing:
    """Audits datasets one after the other with the same readers."""

    def __init__(self, readers: ShardReaders, workers: int, on_progress: OnAuditProgress) -> None:
        self._readers, self._workers, self._on_progress = readers, workers, on_progress

    def audit(
        self, dataset: str, collectors: ChooseCollectors, *, columns: tuple[str, ...] = ()
    ) -> DatasetAudit:
        folder = Folder(dataset)
        return audit_dataset(
            folder,
            readers=self._readers,
            workers=self._workers,
            columns=columns,
            collectors=collectors,
            on_progress=partial(self._on_progress, folder.uri),
        )
