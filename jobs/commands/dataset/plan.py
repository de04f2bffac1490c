"""``bitmill plan``: stores and counts the plan, or estimates the job."""

import json
from dataclasses import asdict

from bitmill.jobs.commands.dataset.estimate import estimate_job, print_estimate
from bitmill.jobs.console import Console, print_json
from bitmill.jobs.preparation.plan_dataset import plan_dataset
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.requests.job import JobSpec


def plan_job(job: JobSpec, *, address: str | None, as_json: bool, console: Console) -> None:
    """Store the plan, or read the stored one, and print its counts."""
    counts = plan_dataset(job, address=address)
    if as_json:
        print_json(json.dumps(asdict(counts), indent=2))
        return
    console.print(
        f"{counts.dataset}: {counts.sources} sources ({bytes_text(counts.size_bytes)}) in "
        f"{counts.shards} shards, {counts.committed} of them committed"
    )


def show_estimate(job: JobSpec, *, sample: int, as_json: bool, console: Console) -> None:
    """Print an estimate of the job; writes nothing."""
    estimate = estimate_job(job, sample=sample)
    if as_json:
        print_json(estimate.model_dump_json(indent=2))
    else:
        print_estimate(estimate, console)
