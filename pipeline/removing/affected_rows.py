"""Finds what a takedown affects: clips and ledger rows to remove, by shard, and unknown requests."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_ledger
from bitmill.pipeline.reading.index.clip_lookup import ClipFinder
from bitmill.pipeline.reading.index.footers import open_shard
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.removing.removal_filter import Takedown
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.outcomes import Reason

_THREADS = 8

OnProgress = Callable[[int, int], None]
"""Called with the number of finished shards and the total."""


@dataclass(frozen=True, kw_only=True)
class Touched:
    """A committed shard that a takedown changes."""

    shard: PlannedShard
    clip_ids: tuple[str, ...]
    """The clips to remove, in the shard's order."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The effect of a takedown on a dataset."""

    touched: tuple[Touched, ...]
    """In plan order."""
    pending_sources: int
    """Number of requested sources whose shard is not committed: they will not be read."""
    unknown: tuple[str, ...]
    """Requests that are neither planned nor in the dataset."""

    @property
    def num_clips(self) -> int:
        """Number of clips to remove."""
        return sum(len(one.clip_ids) for one in self.touched)


@dataclass(frozen=True)
class _Look:
    shard: PlannedShard
    clip_ids: tuple[str, ...]
    marks: bool
    """True if some ledger row must become ``removed`` and is not yet."""
    items: frozenset[tuple[str, str]]
    """Requested members that the ledger contains."""

    @property
    def changes(self) -> bool:
        return bool(self.clip_ids) or self.marks


def select(
    folder: Folder,
    card: DatasetCard,
    plan: Sequence[PlannedShard],
    takedown: Takedown,
    *,
    also_in: Collection[str] = (),
    use_index: bool = True,
    on_progress: OnProgress = lambda _done, _of: None,
) -> Selection:
    """Find what the takedown still affects. Also looks for single clips in the shards ``also_in``.

    A few clips are found by the reader's index, unless ``use_index`` is false; many by reading each shard.
    Raises FormatError for damaged shards and ledgers.
    """
    names = committed_shards(folder)
    uris = takedown.uris
    planned = Counter[str]()
    pending = Counter[str]()
    wanted = set(also_in)
    for shard in plan:
        own = [source.uri for source in shard.sources if source.uri in uris]
        planned.update(own)
        if own and shard.shard_id in names:
            wanted.add(shard.shard_id)
        else:
            pending.update(own)
    if takedown.clips and not also_in:
        wanted |= _shards_of_clips(folder, card, takedown.clips, names, use_index=use_index)
    candidates = [shard for shard in plan if shard.shard_id in wanted & names]
    looks = list(_looks(folder, candidates, takedown, on_progress))
    found = {clip for look in looks for clip in look.clip_ids}
    items = {item for look in looks for item in look.items}
    unknown = [uri for uri in sorted(takedown.sources) if not planned[uri]]
    unknown += [
        f"{uri} with key {key}"
        for uri, key in sorted(takedown.items)
        if (uri, key) not in items and not pending[uri]
    ]
    unknown += sorted(takedown.clips - found)
    return Selection(
        touched=tuple(Touched(shard=look.shard, clip_ids=look.clip_ids) for look in looks if look.changes),
        pending_sources=sum(pending[uri] for uri in uris),
        unknown=tuple(unknown),
    )


def _shards_of_clips(
    folder: Folder, card: DatasetCard, clips: Collection[str], committed: set[str], *, use_index: bool
) -> set[str]:
    if not use_index or len(clips) > len(committed):
        return committed
    index = open_index(folder, card, allow_incomplete=True)
    finder = ClipFinder(folder, index)
    return {index.group(group).shard_id for clip in clips for group, _ in finder.places(clip)}


def _looks(
    folder: Folder, shards: Sequence[PlannedShard], takedown: Takedown, on_progress: OnProgress
) -> Iterator[_Look]:
    with ThreadPoolExecutor(_THREADS) as pool:
        found: Iterable[_Look] = pool.map(lambda shard: _look(folder, shard, takedown), shards)
        for done, look in enumerate(found, 1):
            yield look
            on_progress(done, len(shards))


def _look(folder: Folder, shard: PlannedShard, takedown: Takedown) -> _Look:
    clip_ids: list[str] = []
    with open_shard(folder, shard.shard_id) as file:
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, columns=["clip_id", "source", "key"])
            columns = (table.column(name).to_pylist() for name in ("clip_id", "source", "key"))
            clip_ids += [row[0] for row in zip(*columns, strict=True) if takedown.takes_clip(*row)]
    uris = takedown.uris
    rows = load_ledger(folder, shard.shard_id) if any(source.uri in uris for source in shard.sources) else []
    asked = [row for row in rows if takedown.takes_item(row["source"], row["key"])]
    return _Look(
        shard=shard,
        clip_ids=tuple(clip_ids),
        marks=any(row["reason"] != Reason.REMOVED for row in asked),
        items=frozenset((row["source"], row["key"]) for row in asked if row["key"] is not None),
    )
