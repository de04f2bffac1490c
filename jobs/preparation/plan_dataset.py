"""Plans a job's dataset and counts what is planned."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitmill.jobs.preparation.prepare import PreparedJob, has_gpus, prepare
from bitmill.pipeline.span_bytes import object_bytes
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.requests.job import JobSpec


@dataclass(frozen=True, kw_only=True)
class PlanCounts:
    """The counts of a stored plan."""

    dataset: str
    """Path or URI of its folder."""
    sources: int
    size_bytes: int
    """Of the sources; an object of which several spans are planned counts once."""
    shards: int
    committed: int
    """Shards whose tokens are written."""
    ignored_files: int
    """Listed files that are no media by their names."""


def plan_dataset(job: JobSpec, *, address: str | None = None) -> PlanCounts:
    """List the sources, cut them into shards and store the plan; an existing plan is read instead.

    ``address`` is that of the Ray cluster which ``compute.device: auto`` asks for GPUs. Raises BadJobError,
    OutputConflictError or InfrastructureError.
    """
    return plan_counts(prepare(job, cluster_has_gpus=lambda: has_gpus(address)))


def plan_counts(prepared: PreparedJob) -> PlanCounts:
    """Count what is planned."""
    card = prepared.card
    return PlanCounts(
        dataset=prepared.folder.uri,
        sources=card.num_sources,
        size_bytes=_planned_bytes(prepared.shards),
        shards=card.num_shards,
        committed=len(prepared.committed),
        ignored_files=card.ignored_files,
    )


def _planned_bytes(shards: Sequence[PlannedShard]) -> int:
    """Bytes of the planned objects, those that are done again counted again."""
    return sum(
        object_bytes([source for shard in shards if shard.attempt == attempt for source in shard.sources])
        for attempt in {shard.attempt for shard in shards}
    )
