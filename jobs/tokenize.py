"""``bitmill tokenize``: prepare, run on a local or given cluster, tell how it ended."""

from contextlib import ExitStack

from rich.console import Console

from jobs.draining import drained_on_sigterm
from jobs.prepare import PreparedJob, prepare
from jobs.progress import Progress, duration_text, summary
from schemas.dataset import Totals
from schemas.errors import InterruptedJobError
from schemas.job import JobSpec


def tokenize_job(job: JobSpec, *, address: str | None, console: Console) -> bool:
    """Run a job to its end and print the summary. Gives whether every planned item is ok."""
    prepared = prepare(job, cluster_has_gpus=lambda: has_gpus(address))
    if prepared.tokenizer.is_random:
        console.print(
            f"note: preset {job.tokenizer.preset!r} has random weights; its tokens are for trials only."
        )
    totals = prepared.finished
    if totals is not None:
        console.print("nothing to do: every planned shard is committed.")
    else:
        totals = _run(prepared, address, console)
    summary(prepared.card, totals, console)
    console.print(f"dataset    {prepared.folder.uri}", soft_wrap=True)
    return totals.ok == prepared.card.num_sources


def has_gpus(address: str | None) -> bool:
    """Whether the cluster at an address, or this machine where there is none, has GPUs."""
    if address is None:
        import torch

        return torch.cuda.is_available()
    from jobs.cluster.session import Cluster

    with Cluster(address) as cluster:
        return cluster.count("GPU") > 0


def _run(prepared: PreparedJob, address: str | None, console: Console) -> Totals:
    # Ray is slow to import; a finished dataset is told without it.
    from jobs.cluster.session import Cluster
    from jobs.driver import run

    console.print(
        f"{len(prepared.remaining)} of {prepared.card.num_shards} shards to do "
        f"({prepared.card.num_sources} items) on {address or 'a local Ray'} …"
    )
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(address))
        progress = stack.enter_context(Progress(console))
        stop = stack.enter_context(drained_on_sigterm())
        try:
            result = run(prepared, cluster, progress, stop)
        except KeyboardInterrupt as interrupt:
            raise InterruptedJobError(
                "Interrupted; committed shards stay. Run the same command again to resume."
            ) from interrupt
    stages = ", ".join(f"{stage} {duration_text(seconds)}" for stage, seconds in result.seconds.items())
    if stages:
        console.print(f"actors' time: {stages}")
    return result.totals
