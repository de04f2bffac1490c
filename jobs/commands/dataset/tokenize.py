"""``bitmill tokenize``: prepare, run on a local or given cluster, tell how it ended."""

from contextlib import ExitStack

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.preparation.prepare import PreparedJob, has_gpus, prepare
from bitmill.jobs.preparation.submission_id import submission_of
from bitmill.jobs.progress.observers import Observers
from bitmill.jobs.progress.progress_text import stage_times
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.progress.status_writer import StatusWriter
from bitmill.jobs.progress.terminal import Progress, summary
from bitmill.jobs.scheduling.signals import drained_on_sigterm, handle_sigterm, stoppable
from bitmill.pipeline.span_shares import shares_of_shards
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK
from bitmill.schemas.requests.job import JobSpec


def tokenize_job(
    job: JobSpec, *, address: str | None, console: Console, growth: Growth | None = None
) -> bool:
    """Run a job to its end and print the summary. Gives whether every item of every source is ok."""
    with StatusWriter(console) as status_writer, stoppable():
        return _tokenize(job, address, console, status_writer, growth)


def _tokenize(
    job: JobSpec, address: str | None, console: Console, status_writer: StatusWriter, growth: Growth | None
) -> bool:
    def ask_for_gpus() -> bool:
        found = has_gpus(address)
        handle_sigterm()
        return found

    prepared = prepare(job, cluster_has_gpus=ask_for_gpus, growth=growth, claim=status_writer.claim)
    for note in prepared.notes:
        console.print(note, soft_wrap=True)
    if prepared.tokenizer.is_random:
        console.print(
            f"note: preset {job.tokenizer.preset!r} has random weights; its tokens are for trials only."
        )
    totals = prepared.finished
    if totals is not None:
        console.print("nothing to do: every planned shard is committed.")
    else:
        totals = _run(prepared, submission_of(job), address, console, status_writer)
    all_ok = totals.ok == totals.items
    status_writer.finish(all_ok=all_ok, exit_code=EXIT_COMPLETE if all_ok else EXIT_NOT_ALL_OK)
    summary(prepared.card, totals, console)
    console.print(f"dataset    {prepared.folder.uri}", soft_wrap=True)
    return all_ok


def _run(
    prepared: PreparedJob, name: str, address: str | None, console: Console, status_writer: StatusWriter
) -> Totals:
    # Ray is slow to import; a finished dataset is told without it.
    from bitmill.jobs.cluster.connection.session import Cluster
    from bitmill.jobs.cluster.metrics import RunMetrics
    from bitmill.jobs.execution.driver import run

    console.print(
        f"{len(prepared.remaining)} of {prepared.card.num_shards} shards to do "
        f"({prepared.card.num_sources} sources) on {address or 'a local Ray'} …"
    )
    shares = shares_of_shards(prepared.shards)
    run_counts = RunCounts(
        num_sources=prepared.card.num_sources,
        num_shards=prepared.card.num_shards,
        num_committed=len(prepared.committed),
        shares={shard.shard_id: shares[shard.shard_id] for shard in prepared.remaining},
    )
    status_writer.run(prepared.folder, run_counts)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(address))
        handle_sigterm()
        run_counts.listeners.append(stack.enter_context(Progress(console)).show)
        metrics = RunMetrics(run_counts, job_name=name, dataset=prepared.folder.uri)
        stop = stack.enter_context(drained_on_sigterm())
        result = run(prepared, cluster, Observers([run_counts, metrics]), stop)
    if result.seconds:
        console.print(f"time of {stage_times(result.seconds)}", soft_wrap=True)
    return result.totals
