"""A takedown from request to finished record: look, publish the intent, rewrite, correct what sums up.

The record comes first. Whoever is killed behind it left an unfinished one, which ``finish_removals`` takes
up; everything here gives the same when it is done twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_plan, publish_totals, require_card
from bitmill.pipeline.dataset.plan_file import plan_bytes
from bitmill.pipeline.dataset.totals import committed_totals
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.removing.affected_rows import Selection, Tell, Touched, select
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
"""Files that follow from shards and ledgers, and are made anew by whoever lacks them."""


def _silent(_done: int, _of: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be taken down."""

    sources: tuple[RemovedSource, ...] = ()
    clips: tuple[str, ...] = ()
    reason: str | None = None

    def without(self, unknown: Collection[str]) -> "Request":
        """Less what a dataset does not have, as ``Proposal.unknown`` names it."""
        return replace(
            self,
            sources=tuple(source for source in self.sources if name_of(source) not in unknown),
            clips=tuple(clip for clip in self.clips if clip not in unknown),
        )


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A request, and what it comes to in a dataset; nothing is written yet."""

    request: Request
    selection: Selection
    unknown: tuple[str, ...]
    """Asked for, not there, and never taken down."""
    is_recorded: bool
    """Whether a finished record asks for all of it, so that only what that one missed is left to do."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_recorded and not self.selection.touched


def name_of(source: RemovedSource) -> str:
    """A source as a person reads it."""
    return source.uri if source.key is None else f"{source.uri} with key {source.key}"


def propose(folder: Folder, request: Request, *, tell: Tell = _silent) -> Proposal:
    """Look what a request comes to. Raises UsageError where it is no dataset, FormatError for damage."""
    card = require_card(folder)
    known = removed_clips(folder)
    asked = Takedown.of([_removal(request)])
    plan = load_plan(folder, card)
    # Where a removal was interrupted, the reader's index may be of shards as they were.
    selection = select(folder, card, plan, asked, use_index=not known.unfinished, tell=tell)
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


def remove(folder: Folder, proposal: Proposal, *, tell: Tell = _silent) -> Record:
    """Take down what a proposal says, and give the finished record; the earlier one of the same request.

    Raises UsageError where something asked for is not in the dataset, or an earlier removal is unfinished.
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
    return _carry_out(folder, publish_record(folder, removal), tell)


def finish_removals(folder: Folder, *, all_of_them: bool = False, tell: Tell = _silent) -> list[Record]:
    """Finish removals that were interrupted; with ``all_of_them``, look after finished ones, too.

    A finished one has something left where a driver committed a shard that it had begun before. Gives the
    records on whose behalf something was done.
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
            done.append(_carry_out(folder, publish_record(folder, removal), tell))
    return done


def _carry_out(folder: Folder, record: Record, tell: Tell) -> Record:
    card = require_card(folder)
    plan = load_plan(folder, card)
    records = load_records(folder)
    takedown = Takedown.of(one.removal for one in records)
    # A driver that was at work meanwhile may remember sums of shards as they were.
    touched = {shard.shard_id for one in records for shard in one.removal.shards}
    remembered = {name: sums for name, sums in remembered_totals(folder).items() if name not in touched}
    for name in _DERIVED:
        folder.remove(name)
    own = [shard.shard_id for shard in record.removal.shards]
    shards = {shard.shard_id: shard for shard in plan}
    rules = WritingRules.of(card)
    for done, shard_id in enumerate(own, 1):
        rewrite_shard(folder, shards[shard_id], takedown, rules)
        tell(done, len(own))
    _strip_plan(folder, card, plan, takedown)
    if card.totals is not None:
        publish_totals(folder, card, committed_totals(folder, plan, committed_shards(folder), remembered))
    for name in _DERIVED:
        folder.remove(name)
    finished = publish_record(folder, record.removal.model_copy(update={"finished": True}))
    folder.sweep_staging()
    return finished


def _strip_plan(folder: Folder, card: DatasetCard, plan: Sequence[PlannedShard], takedown: Takedown) -> None:
    """Take captions and the like of removed sources out of the plan; no id depends on them."""
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
    """The record with what is still there added; unfinished until that is gone."""
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
