"""Runs a tokenization job from its request to its end; has no console, which is the command's."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.preparation.prepare import PreparedJob, has_gpus, prepare
from bitmill.jobs.preparation.submission_id import submission_of
from bitmill.jobs.progress.run_counts import Counts, RunCounts
from bitmill.jobs.progress.status_writer import StatusWriter
from bitmill.jobs.scheduling.signals import drained_on_sigterm, handle_sigterm, stoppable
from bitmill.pipeline.span_bytes import shares_of_shards
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import DatasetCard, Totals
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK
from bitmill.schemas.requests.job import JobSpec

Notify = Callable[[str], None]
OnProgress = Callable[[Counts], None]


@dataclass(frozen=True, kw_only=True)
class TokenizeResult:
    """A finished dataset."""

    dataset: str
    """Path or URI of its folder."""
    card: DatasetCard
    totals: Totals
    """Over all items of the dataset, those of earlier runs included."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Time of this run by stage; empty where every shard was committed before."""

    @property
    def all_ok(self) -> bool:
        """Whether every item of every source is ok."""
        return self.totals.ok == self.totals.items


def tokenize_dataset(
    job: JobSpec,
    *,
    address: str | None = None,
    growth: Growth | None = None,
    on_progress: OnProgress = lambda _: None,
    notify: Notify = lambda _: None,
) -> TokenizeResult:
    """Run a job to its end, or take it up where an earlier run stopped.

    ``address`` is that of a Ray cluster; without one a local Ray is started. ``on_progress`` receives the
    counts about twice a second, ``notify`` sentences for the user, both in the calling thread. Raises
    BadJobError, OutputConflictError, TooManyFailuresError or InfrastructureError; InterruptedJobError for
    Ctrl-C and SIGTERM. Committed shards stay.
    """
    with StatusWriter(notify) as status_writer, stoppable():
        prepared = _prepare(job, address, growth, status_writer)
        for sentence in prepared.notes:
            notify(sentence)
        if prepared.tokenizer.is_random:
            notify(
                f"note: preset {job.tokenizer.preset!r} has random weights; its tokens are for trials only."
            )
        if prepared.card.tokenizer_note is not None:
            notify(f"note: {prepared.card.tokenizer_note}.")
        totals, seconds = prepared.finished, dict[str, float]()
        if totals is not None:
            notify("nothing to do: every planned shard is committed. New files are added with --append.")
        else:
            totals, seconds = _run(
                prepared, submission_of(job), address, status_writer, on_progress, notify=notify
            )
        result = TokenizeResult(
            dataset=prepared.folder.uri, card=prepared.card, totals=totals, seconds=seconds
        )
        exit_code = EXIT_COMPLETE if result.all_ok else EXIT_NOT_ALL_OK
        status_writer.finish(all_ok=result.all_ok, exit_code=exit_code)
        return result


def _prepare(
    job: JobSpec, address: str | None, growth: Growth | None, status_writer: StatusWriter
) -> PreparedJob:
    def cluster_has_gpus() -> bool:
        found = has_gpus(address)
        handle_sigterm()
        return found

    return prepare(job, cluster_has_gpus=cluster_has_gpus, growth=growth, claim=status_writer.claim)


def _run(
    prepared: PreparedJob,
    name: str,
    address: str | None,
    status_writer: StatusWriter,
    on_progress: OnProgress,
    *,
    notify: Notify,
) -> tuple[Totals, dict[str, float]]:
    # Ray is slow to import, and not needed for a finished dataset.
    from bitmill.jobs.cluster.connection.ray_session import Cluster
    from bitmill.jobs.cluster.prometheus_metrics import RunMetrics
    from bitmill.jobs.execution.driver import run

    notify(
        f"{len(prepared.remaining)} of {counted(str(prepared.card.num_shards), 'shard')} to do "
        f"({counted(str(prepared.card.num_sources), 'source')}) on {address or 'a local Ray'} …"
    )
    shares = shares_of_shards(prepared.shards)
    run_counts = RunCounts(
        num_sources=prepared.card.num_sources,
        num_shards=prepared.card.num_shards,
        num_committed=len(prepared.committed),
        shares={shard.shard_id: shares[shard.shard_id] for shard in prepared.remaining},
    )
    run_counts.listeners.append(on_progress)
    status_writer.run(prepared.folder, run_counts)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(address))
        handle_sigterm()
        if isinstance(prepared.tokenizer.config, PluginConfig):
            cluster.require_plugin(prepared.tokenizer.config, prepared.device)
        metrics = RunMetrics(run_counts, job_name=name, dataset=prepared.folder.uri)
        stop = stack.enter_context(drained_on_sigterm())
        result = run(prepared, cluster, metrics, stop)
    return result.totals, result.seconds
