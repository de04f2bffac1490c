"""The Python API of the jobs, which ``bitmill`` re-exports: tokenize, plan, audit, export.

Provisional until version 1.0. Functions return values, take progress callbacks and print nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bitmill.jobs.preparation.job_request import requested_job
from bitmill.schemas.errors import UsageError, WrongArgumentError
from bitmill.schemas.lists_of_names import refuse_text
from bitmill.schemas.nearest_name import did_you_mean
from bitmill.schemas.outcomes import Reason

if TYPE_CHECKING:
    from bitmill.jobs.execution.tokenize_dataset import TokenizeResult
    from bitmill.jobs.preparation.plan_dataset import PlanCounts
    from bitmill.jobs.progress.run_counts import Counts
    from bitmill.pipeline.auditing.parallel import AuditProgress
    from bitmill.pipeline.exporting import ExportProgress, ExportResult
    from bitmill.schemas.reports.audit_report import AuditReport
    from bitmill.schemas.reports.export_inventory import ExportFormat

T = TypeVar("T", bound=StrEnum)

Source = str | Path | Mapping[str, Any]
"""A folder, glob, file, tar or manifest; or, without an output, a job file or a job as nested mappings."""


def tokenize(
    source: Source,
    output: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    append: bool = False,
    retry_failed: bool = False,
    reasons: Collection[str] = (),
    address: str | None = None,
    on_progress: "Callable[[Counts], None]" = lambda _: None,
    notify: Callable[[str], None] = lambda _: None,
) -> "TokenizeResult":
    """Tokenize a collection into a dataset folder. A second call resumes; a finished dataset is left alone.

    ``tokenizer`` is ``small-1`` (the default) or ``small``, which are bundled, a preset, a plugin, or a
    tokenizer's folder. Keys of ``settings`` are the job's by dotted name, such as ``{"sampling.fps": 8}``.
    ``append`` adds sources that are not planned yet, ``retry_failed`` does failed items again (only those
    that failed for one of ``reasons``, if given).
    ``address`` is that of a Ray cluster; without one a local Ray is started. ``on_progress`` receives the
    counts about twice a second, ``notify`` sentences for the user.

    Items that cannot be tokenized do not raise: the result's ``totals`` count them, the ledger gives their
    reasons. Raises BadJobError, OutputConflictError, TooManyFailuresError, InfrastructureError, or
    InterruptedJobError for Ctrl-C and SIGTERM; committed shards stay.
    """
    from bitmill.jobs.execution.tokenize_dataset import tokenize_dataset
    from bitmill.jobs.preparation.append_and_retry import Growth

    refuse_text(reasons, "reasons")
    job = requested_job(source, output, tokenizer=tokenizer, overrides=settings or {}, origin="the job")
    growth = Growth(
        append=append,
        retry_failed=retry_failed,
        reasons=frozenset(_named(Reason, reason, "reason of failure") for reason in reasons),
    )
    return tokenize_dataset(job, address=address, growth=growth, on_progress=on_progress, notify=notify)


def plan(
    source: Source,
    output: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> "PlanCounts":
    """List the sources, cut them into shards and store the plan, without tokenizing; arguments as above.

    Raises BadJobError, OutputConflictError or InfrastructureError.
    """
    from bitmill.jobs.preparation.plan_dataset import plan_dataset

    job = requested_job(source, output, tokenizer=tokenizer, overrides=settings or {}, origin="the job")
    return plan_dataset(job, address=address)


def audit(
    dataset: str | Path,
    *,
    by: Sequence[str] = (),
    codes: bool = True,
    duplicates: bool = True,
    radius: float = 0.05,
    against: Sequence[str | Path] = (),
    sample: int = 16,
    seed: int = 0,
    check_source: bool = False,
    address: str | None = None,
    workers: int | None = None,
    on_progress: "Callable[[str, AuditProgress], None]" = lambda _uri, _progress: None,
) -> "AuditReport":
    """Read every file of a dataset; the report says what is covered, missing or damaged, and its ``verdict``.

    ``by`` names metadata columns to break coverage down by. ``codes`` adds statistics, ``duplicates`` clips
    that differ in at most the share ``radius`` of their bits, also ``against`` other datasets. ``sample``
    clips are decoded and tokenized again. ``check_source`` lists the sources and compares them with the plan.
    ``workers`` processes read shards (default: one per CPU), or tasks of the Ray cluster at ``address``.
    ``on_progress`` receives a dataset's URI and how far its audit is. Raises UsageError, FormatError or
    InfrastructureError.
    """
    from bitmill.jobs.execution.audit_dataset import AuditRequest, run_audit
    from bitmill.pipeline.auditing.options import AuditOptions

    refuse_text(by, "by")
    refuse_text(against, "against")
    options = AuditOptions(
        codes=codes,
        duplicates=duplicates,
        radius=radius,
        against=tuple(map(str, against)),
        sample=sample,
        seed=seed,
        check_source=check_source,
    )
    request = AuditRequest(columns=tuple(by), asked=options, address=address, workers=workers)
    return run_audit(str(dataset), request, on_progress=on_progress).report


def export(
    dataset: str | Path,
    out: str | Path,
    *,
    to: "ExportFormat | str",
    max_bytes: int = 512 << 20,
    allow_incomplete: bool = False,
    workers: int | None = None,
    on_progress: "Callable[[ExportProgress], None]" = lambda _: None,
) -> "ExportResult":
    """Export a dataset for other loaders: ``to`` is ``webdataset``, ``bin`` or ``huggingface``.

    ``out`` is empty or holds the same export, which is then completed. A file holds about ``max_bytes``.
    ``workers`` processes write files (default: one per CPU). Raises UsageError, FormatError or
    InfrastructureError.
    """
    from bitmill.pipeline.cpu_count import available_cpus
    from bitmill.pipeline.exporting import export_dataset
    from bitmill.schemas.reports.export_inventory import ExportFormat

    if max_bytes < 1:
        raise WrongArgumentError(f"max_bytes must be at least 1, not {max_bytes}.")
    return export_dataset(
        str(dataset),
        str(out),
        export_format=_named(ExportFormat, to, "export format"),
        max_bytes=max_bytes,
        allow_incomplete=allow_incomplete,
        workers=workers or available_cpus(),
        on_progress=on_progress,
    )


def _named(kind: type[T], name: str, what: str) -> T:
    try:
        return kind(name)
    except ValueError as error:
        raise UsageError(
            f"{name!r} is no {what}{did_you_mean(name, kind)}; there are {', '.join(kind)}."
        ) from error
