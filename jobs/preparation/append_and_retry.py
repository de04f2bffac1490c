"""``--append`` and ``--retry-failed``: add parts to a stored plan. Planned and committed shards stay."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.dataset_folder import (
    check_other_plan,
    committed_shards,
    load_ledger,
    write_plan,
)
from bitmill.pipeline.planning.append import Failed, failed_sources, sift_sources
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.planning.split_videos import split_long
from bitmill.pipeline.sources.listing import find_sources, looked_up_again
from bitmill.pipeline.storage import Folder
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import DATASET_FILE, DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.errors import BadJobError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import JobSpec

_LEDGER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What to add to a dataset's plan."""

    append: bool = False
    """Plan the job's new sources."""
    retry_failed: bool = False
    """Plan failed items again."""
    reasons: frozenset[Reason] = frozenset()
    """The only reasons to retry; empty means all."""

    def __post_init__(self) -> None:
        if self.reasons and not self.retry_failed:
            raise BadJobError("--reason selects what --retry-failed retries; give both.")


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A dataset's card and plan after growing, and notes for the user."""

    card: DatasetCard
    shards: tuple[PlannedShard, ...]
    notes: tuple[str, ...] = ()


def grow(
    folder: Folder,
    job: JobSpec,
    growth: Growth,
    *,
    card: DatasetCard,
    shards: Sequence[PlannedShard],
    source_fields: dict[str, Any],
) -> Grown:
    """Store the new parts of the plan that ``growth`` asks for; the card that lists them is written last.

    Writes nothing if there is nothing to add. If it dies before writing the card, the dataset is unchanged.
    Raises OutputConflictError if another run changed the plan meanwhile, errors of listing
    and checking sources, and FormatError on a damaged ledger.
    """
    grown = _Growing(folder, job, card, shards)
    if growth.retry_failed:
        grown.retry_failed(growth.reasons)
    if growth.append:
        grown.append(source_fields)
    if grown.card != card:
        check_other_plan(folder, card.plan, grown.card.plan)
        folder.write_bytes(DATASET_FILE, grown.card.to_json())
    return Grown(card=grown.card, shards=tuple(grown.shards), notes=tuple(grown.notes))


class _Growing:
    """A plan that grows in memory; its new parts are written to the folder as they are added."""

    def __init__(
        self, folder: Folder, job: JobSpec, card: DatasetCard, shards: Sequence[PlannedShard]
    ) -> None:
        self.card = card
        self.shards = list(shards)
        self.notes: list[str] = []
        self._folder = folder
        self._job = job

    def append(self, source_fields: dict[str, Any]) -> None:
        found = find_sources(self._job.source)
        sifted = sift_sources(found.sources, (source for shard in self.shards for source in shard.sources))
        if sifted.new:
            # New source fields are recorded, so that the same command can be resumed later.
            known = self.card.names_sources(source_fields)
            self.card = self.card.model_copy(
                update={
                    "appended_sources": self.card.appended_sources + ([] if known else [source_fields]),
                    "ignored_files": self.card.ignored_files + (0 if known else found.ignored_files),
                }
            )
            self._add(split_long(sifted.new, self._job.sharding.split_s, self._job.limits), attempt=1)
            self.notes.append(f"new sources: {len(sifted.new)} appended; {sifted.known} planned already.")
        else:
            self.notes.append(
                f"nothing to append: {counted(str(len(found.sources)), 'source')} found, all planned already."
            )
        if sifted.retold:
            self.notes.append(
                f"metadata: the manifest's columns of {counted(sifted.retold, 'planned source')} are not "
                "those of the plan and are left out; join them when reading (join=, docs/reading.md)."
            )
        if sifted.changed:
            self.notes.append(
                f"changed sources: {sifted.changed} skipped, of another size or version than planned; "
                "use --retry-failed for those that failed, a new dataset for the others."
            )

    def retry_failed(self, reasons: frozenset[Reason]) -> None:
        failed = self._failed(reasons)
        which = f" ({', '.join(sorted(reasons))})" if reasons else ""
        if failed.sources:
            attempt = 1 + max(part.attempt for part in self.card.plan)
            self._add(looked_up_again(failed.sources), attempt=attempt)
            self.notes.append(f"failed items{which}: {len(failed.sources)} to be retried.")
        else:
            self.notes.append(f"nothing to retry: every failed item{which} is already planned again.")
        if failed.members_left_out:
            self.notes.append(
                f"tar members: {failed.members_left_out} failed ones skipped, because other members of their "
                "tars became tokens; put the repaired ones into a new tar and append it."
            )

    def _add(self, sources: Sequence[PlannedSource], *, attempt: int) -> None:
        added = cut_shards(
            sources, self._job.sharding, self.card.job_fingerprint, behind=self.shards, attempt=attempt
        )
        part = write_plan(self._folder, len(self.card.plan), added)
        self.card = self.card.model_copy(update={"plan": [*self.card.plan, part], "totals": None})
        self.shards += added

    def _failed(self, reasons: frozenset[Reason]) -> Failed:
        newest, names = NewestAttempts(self.shards), committed_shards(self._folder)

        def failed_of(shard: PlannedShard) -> Failed:
            return failed_sources(shard, load_ledger(self._folder, shard.shard_id), newest, reasons)

        with ThreadPoolExecutor(_LEDGER_THREADS) as pool:
            found = list(pool.map(failed_of, (shard for shard in self.shards if shard.shard_id in names)))
        return Failed(
            sources=tuple(source for failed in found for source in failed.sources),
            members_left_out=sum(failed.members_left_out for failed in found),
        )
