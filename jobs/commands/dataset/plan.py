"""``bitmill plan``: the plan stored and counted, or what the job would come to."""

import json
from collections.abc import Sequence

from bitmill.jobs.commands.dataset.estimate import estimate_job, print_estimate
from bitmill.jobs.console import Console, print_json
from bitmill.jobs.preparation.prepare import has_gpus, prepare
from bitmill.jobs.progress.units import bytes_text
from bitmill.pipeline.span_shares import object_bytes
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.requests.job import JobSpec


def plan_job(job: JobSpec, *, address: str | None, as_json: bool, console: Console) -> None:
    """Store the plan, or take up the stored one, and print its counts."""
    prepared = prepare(job, cluster_has_gpus=lambda: has_gpus(address))
    card = prepared.card
    counts = {
        "dataset": prepared.folder.uri,
        "sources": card.num_sources,
        "size_bytes": _planned_bytes(prepared.shards),
        "shards": card.num_shards,
        "committed": len(prepared.committed),
        "ignored_files": card.ignored_files,
    }
    if as_json:
        print_json(json.dumps(counts, indent=2))
        return
    console.print(
        f"{counts['dataset']}: {card.num_sources} sources ({bytes_text(int(counts['size_bytes']))}) in "
        f"{card.num_shards} shards, {counts['committed']} of them committed"
    )


def _planned_bytes(shards: Sequence[PlannedShard]) -> int:
    """Bytes of the planned objects, those that are done again counted again."""
    attempts = {shard.attempt for shard in shards}
    return sum(
        object_bytes([source for shard in shards if shard.attempt == attempt for source in shard.sources])
        for attempt in attempts
    )


def show_estimate(job: JobSpec, *, sample: int, as_json: bool, console: Console) -> None:
    """Print what the job would come to; nothing is written."""
    estimate = estimate_job(job, sample=sample)
    if as_json:
        print_json(estimate.model_dump_json(indent=2))
    else:
        print_estimate(estimate, console)
