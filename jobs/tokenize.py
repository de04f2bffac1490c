"""``bitmill tokenize``: prepare, run on a local or given cluster, tell how it ended."""

from contextlib import ExitStack

from rich.console import Console

from jobs.cluster import Cluster
from jobs.driver import RunResult, finished_before, run
from jobs.prepare import prepare
from jobs.progress import Progress, duration_text, summary
from schemas.job import JobSpec


def tokenize_job(job: JobSpec, *, address: str | None, console: Console) -> bool:
    """Run a job to its end and print the summary. Gives whether every planned item is ok."""
    with ExitStack() as stack:
        cluster = Cluster(address)

        def has_gpus() -> bool:
            # Only a cluster elsewhere can have GPUs that this machine does not see.
            if address is None:
                return False
            stack.enter_context(cluster)
            return cluster.count("GPU") > 0

        prepared = prepare(job, cluster_has_gpus=has_gpus)
        if prepared.tokenizer.is_random:
            console.print(
                f"note: preset {job.tokenizer.preset!r} has random weights; its tokens are for trials only."
            )
        result = finished_before(prepared)
        if result is not None:
            console.print("nothing to do: every planned shard is committed.")
        else:
            where = address or "a local Ray"
            console.print(
                f"{len(prepared.remaining)} of {prepared.card.num_shards} shards to do "
                f"({prepared.card.num_sources} items) on {where} …"
            )
            if not cluster.is_running:
                stack.enter_context(cluster)
            with Progress(console) as progress:
                result = run(prepared, cluster, progress)
    summary(prepared.card, result.totals, console)
    _tell_time(result, console)
    console.print(f"dataset    {prepared.folder.uri}", soft_wrap=True)
    return result.totals.ok == prepared.card.num_sources


def _tell_time(result: RunResult, console: Console) -> None:
    if result.seconds:
        stages = ", ".join(f"{stage} {duration_text(seconds)}" for stage, seconds in result.seconds.items())
        console.print(f"actor time {stages}")
