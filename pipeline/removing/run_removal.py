"""Runs a takedown: find what is affected, publish the intent, rewrite shards, correct sums.

The record comes first. A process killed after that leaves it unfinished, and ``finish_removals`` resumes it;
every step here is idempotent.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_plan, publish_totals, require_card
from bitmill.pipeline.dataset.plan_file import plan_bytes
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.removing.affected_rows import OnProgress, Selection, Touched, select
from bitmill.pipeline.removing.check_removed import removed_clips
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.removing.removal_records import Record, load_records, publish_record
from bitmill.pipeline.removing.rewrite_shard import WritingRules, rewrite_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.dataset.reading_index import CLIP_INDEX_FILE, INDEX_FILE
from bitmill.schemas.dataset.removal import Removal, RemovedShard, RemovedSource
from bitmill.schemas.dataset.shard_totals import TOTALS_FILE
from bitmill.schemas.errors import UsageError

_DERIVED = (INDEX_FILE, CLIP_INDEX_FILE, TOTALS_FILE)
"""Files derived from shards and ledgers; their readers recreate them."""


def _silent(_done: int, _of: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to take down."""

    sources: tuple[RemovedSource, ...] = ()
    clips: tuple[str, ...] = ()
    reason: str | None = None

    def without(self, unknown: Collection[str]) -> "Request":
        """This request without what a dataset does not have, as named by ``Proposal.unknown``."""
        return replace(
            self,
            sources=tuple(source for source in self.sources if name_of(source) not in unknown),
            clips=tuple(clip for clip in self.clips if clip not in unknown),
        )


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A request and its effect on a dataset; nothing is written yet."""

    request: Request
    selection: Selection
    unknown: tuple[str, ...]
    """Requests that are not in the dataset and were never taken down."""
    is_recorded: bool
    """True if a finished record covers the whole request, so that only what it missed remains."""

    @property
    def is_done(self) -> bool:
        """True if nothing remains to be done."""
        return self.is_recorded and not self.selection.touched


def name_of(source: RemovedSource) -> str:
    """A displayable name of a source."""
    return source.uri if source.key is None else f"{source.uri} with key {source.key}"


def propose(folder: Folder, request: Request, *, on_progress: OnProgress = _silent) -> Proposal:
    """Find the effect of a request. Raises UsageError if it is not a dataset, FormatError for damage."""
    card = require_card(folder)
    known = removed_clips(folder)
    asked = Takedown.of([_removal(request)])
    plan = load_plan(folder, card)
    # After an interrupted removal, the reader's index may describe the old shards.
    selection = select(folder, card, plan, asked, use_index=not known.unfinished, on_progress=on_progress)
    gone = known.takedown.clips.union(*known.of_shard.values())
    items = {f"{uri} with key {key}" for uri, key in known.takedown.items}
    return Proposal(
        request=request,
        selection=selection,
        unknown=tuple(name for name in selection.unknown if name not in gone and name not in items),
        is_recorded=asked.sources <= known.takedown.sources
        and all(known.takedown.takes_item(uri, key) for uri, key in asked.items)
        and asked.clips <= gone,
    )


def remove(folder: Folder, proposal: Proposal, *, on_progress: OnProgress = _silent) -> Record:
    """Carry out a proposal and return the finished record; for a repeated request, the earlier one.

    Raises UsageError if a request is not in the dataset, or an earlier removal is unfinished.
    """
    if proposal.unknown:
        raise UsageError(f"{folder.uri} has no {proposal.unknown[0]}.")
    if removed_clips(folder).unfinished:
        raise UsageError(f"A removal in {folder.uri} was interrupted; finish it first (--resume).")
    touched = proposal.selection.touched
    removal = _removal(proposal.request, touched)
    earlier = [one.removal for one in load_records(folder) if one.removal.id == removal.id]
    if earlier:
        removal = _merged(earlier[0], touched)
    return _carry_out(folder, publish_record(folder, removal), on_progress)


def finish_removals(
    folder: Folder, *, all_of_them: bool = False, on_progress: OnProgress = _silent
) -> list[Record]:
    """Finish interrupted removals; with ``all_of_them``, also check finished ones.

    A finished one has work left if a driver then committed a shard that it had begun before. Returns the
    records for which something was done.
    """
    done: list[Record] = []
    for record in load_records(folder):
        if record.removal.finished and not all_of_them:
            continue
        card = require_card(folder)
        selection = select(
            folder,
            card,
            load_plan(folder, card),
            Takedown.of([record.removal]),
            also_in={shard.shard_id for shard in record.removal.shards},
            use_index=False,
        )
        if selection.touched or not record.removal.finished:
            removal = _merged(record.removal, selection.touched)
            done.append(_carry_out(folder, publish_record(folder, removal), on_progress))
    return done


def _carry_out(folder: Folder, record: Record, on_progress: OnProgress) -> Record:
    card = require_card(folder)
    plan = load_plan(folder, card)
    records = load_records(folder)
    takedown = Takedown.of(one.removal for one in records)
    # A driver that was running meanwhile may have cached sums of the old shards.
    touched = {shard.shard_id for one in records for shard in one.removal.shards}
    remembered = {name: sums for name, sums in remembered_totals(folder).items() if name not in touched}
    for name in _DERIVED:
        folder.remove(name)
    own = [shard.shard_id for shard in record.removal.shards]
    shards = {shard.shard_id: shard for shard in plan}
    rules = WritingRules.of(card)
    for done, shard_id in enumerate(own, 1):
        rewrite_shard(folder, shards[shard_id], takedown, rules)
        on_progress(done, len(own))
    _strip_plan(folder, card, plan, takedown)
    if card.totals is not None:
        publish_totals(folder, card, committed_totals(folder, plan, committed_shards(folder), remembered))
    for name in _DERIVED:
        folder.remove(name)
    finished = publish_record(folder, record.removal.model_copy(update={"finished": True}))
    folder.sweep_staging()
    return finished


def _strip_plan(folder: Folder, card: DatasetCard, plan: Sequence[PlannedShard], takedown: Takedown) -> None:
    """Remove captions and other metadata of removed sources from the plan; no id depends on them."""
    first = 0
    for part in card.plan:
        shards = plan[first : first + part.num_shards]
        first += part.num_shards
        stripped = [
            replace(shard, sources=tuple(_stripped(source, takedown) for source in shard.sources))
            for shard in shards
        ]
        if stripped != list(shards):
            folder.write_bytes(part.file, plan_bytes(stripped))


def _stripped(source: PlannedSource, takedown: Takedown) -> PlannedSource:
    is_gone = source.metadata is not None and takedown.takes_item(source.uri, None)
    return replace(source, metadata=None) if is_gone else source


def _removal(request: Request, touched: Sequence[Touched] = ()) -> Removal:
    return Removal(
        removed_on=datetime.now(UTC).date(),
        reason=request.reason,
        sources=sorted(set(request.sources), key=lambda source: (source.uri, source.key or "")),
        clips=sorted(set(request.clips)),
        shards=[_removed_shard(one) for one in touched],
        num_clips=sum(len(one.clip_ids) for one in touched),
    )


def _merged(removal: Removal, touched: Sequence[Touched]) -> Removal:
    """The record with what still exists added; unfinished until that is removed."""
    found = {one.shard.shard_id: _removed_shard(one) for one in touched}
    shards: list[RemovedShard] = []
    for shard in removal.shards:
        more = found.pop(shard.shard_id, None)
        new = [clip for clip in more.clip_ids if clip not in set(shard.clip_ids)] if more else []
        shards.append(RemovedShard(shard_id=shard.shard_id, clip_ids=[*shard.clip_ids, *new]))
    shards += found.values()
    update = {"shards": shards, "num_clips": sum(len(one.clip_ids) for one in shards), "finished": False}
    return removal.model_copy(update=update)


def _removed_shard(touched: Touched) -> RemovedShard:
    return RemovedShard(shard_id=touched.shard.shard_id, clip_ids=list(touched.clip_ids))
