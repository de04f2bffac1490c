"""``bitmill plan``: stores and counts the plan, or estimates the job."""

import json
from dataclasses import asdict

from bitmill.jobs.commands.dataset.estimate import estimate_job, print_estimate, size_rows, survey
from bitmill.jobs.console import Console, print_json
from bitmill.jobs.preparation.plan_dataset import plan_counts
from bitmill.jobs.preparation.prepare import PreparedJob, has_gpus, prepare
from bitmill.jobs.progress.summary import print_pairs
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.counted import counted
from bitmill.schemas.reports.estimate_report import SizeEstimate
from bitmill.schemas.requests.job import JobSpec


def plan_job(job: JobSpec, *, address: str | None, sample: int, as_json: bool, console: Console) -> None:
    """Store the plan, or read the stored one, and print its counts; and, unless all frames are squares, the
    counts of each frame size in a sample."""
    prepared = prepare(job, cluster_has_gpus=lambda: has_gpus(address))
    counts = plan_counts(prepared)
    sizes = _sizes(prepared, sample, None if as_json else console)
    if as_json:
        by_size = {"sizes": [size.model_dump() for size in sizes]} if sizes else {}
        print_json(json.dumps(asdict(counts) | by_size, indent=2))
        return
    console.print(
        f"{counts.dataset}: {counted(counts.sources, 'source')} ({bytes_text(counts.size_bytes)}) in "
        f"{counted(counts.shards, 'shard')}, {counts.committed} of them committed"
    )
    print_pairs(size_rows(sizes), console)


def _sizes(prepared: PreparedJob, sample: int, console: Console | None) -> tuple[SizeEstimate, ...]:
    """Returns an estimate per frame size; nothing for a job of squares."""
    if prepared.job.frames.is_square:
        return ()
    sources = [source for shard in prepared.shards if shard.attempt == 1 for source in shard.sources]
    context = prepared.context
    looked = survey(sources, prepared.job, context.geometry, context.sizes, sample=sample, console=console)
    return looked.by_size()


def show_estimate(job: JobSpec, *, sample: int, as_json: bool, console: Console) -> None:
    """Print an estimate of the job; writes nothing."""
    estimate = estimate_job(job, sample=sample, console=None if as_json else console)
    if as_json:
        print_json(estimate.model_dump_json(indent=2))
    else:
        print_estimate(estimate, console)
