"""An observer that keeps the counts reported in status.json. No I/O."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bitmill.pipeline.shard.progress import ShardProgress, add_seconds
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import GPU, STAGES, ActorCounts, Part, Rates


@dataclass
class _Tally:
    """Counts reported by one running shard."""

    items: int = 0
    bytes: int = 0
    """Bytes of these items, as counted by the plan."""
    not_ok: int = 0
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    added: int = 0
    """Tar members beyond the items counted by the plan."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """By stage."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A snapshot of the counts, with the field names of JobStatus."""

    note: str | None
    actors: ActorCounts
    shards: Part
    items: Part
    clips: int
    frames: int
    tokens: int
    not_ok: int
    reasons: dict[str, int]
    rates: Rates
    seconds: dict[str, float]
    remaining_s: float | None


class RunCounts:
    """Sums up shard reports; ``counts`` is replaced atomically, so that another thread may read it.

    Each refresh passes the counts to ``listeners``. Remaining time is estimated by bytes, since one video may
    be most of the work: ``shares`` has the bytes of each source of the remaining shards, a span's being its
    share of the video.
    """

    def __init__(
        self,
        *,
        num_sources: int,
        num_shards: int,
        num_committed: int,
        shares: Mapping[str, Sequence[int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._num_shards = num_shards
        self._num_committed = num_committed
        self._planned = num_sources
        self._shares = shares or {}
        self._bytes = sum(map(sum, self._shares.values()))
        self._done_bytes = 0
        self._earlier = Totals()
        self._done = Totals()
        self._done_added = 0
        self._began: float | None = None
        self._under_way: dict[str, _Tally] = {}
        self._seconds: dict[str, float] = {}
        self.listeners: list[Callable[[Counts], None]] = []
        self.counts = self._count(None, ActorCounts())

    def begin(self, planned: int, earlier: Totals) -> None:
        """Start counting; rates are measured from the first report after this."""
        self._planned, self._earlier = planned, earlier
        self.refresh()

    def advance(self, event: ShardProgress) -> None:
        """Add one report."""
        if self._began is None:
            self._began = self._clock()
        tally = self._under_way.setdefault(event.shard_id, _Tally())
        tally.clips += event.clips
        tally.frames += event.frames
        tally.tokens += event.tokens
        tally.added += event.added_items
        tally.items += event.items
        tally.bytes += event.member_bytes + self._bytes_of(event)
        tally.not_ok += event.not_ok
        tally.reasons.update(event.reasons)
        add_seconds(tally.seconds, event.seconds)

    def drop(self, shard_id: str) -> None:
        """Discard the counts of a shard that restarts."""
        self._under_way.pop(shard_id, None)

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """Replace a shard's reported counts by its ledger's totals."""
        tally = self._under_way.pop(shard_id, None)
        self._done_bytes += sum(self._shares.get(shard_id, ()))
        self._done_added += tally.added if tally is not None else 0
        self._done += totals
        self._num_committed += 1
        add_seconds(self._seconds, seconds)

    def _bytes_of(self, event: ShardProgress) -> int:
        shares = self._shares.get(event.shard_id)
        return sum(shares[place] for place in event.places) if shares else 0

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        """Update ``counts`` and pass them to the listeners."""
        self.counts = self._count(note, actors or ActorCounts())
        for listener in self.listeners:
            listener(self.counts)

    def _count(self, note: str | None, actors: ActorCounts) -> Counts:
        under_way = list(self._under_way.values())
        items = self._done.items + sum(tally.items for tally in under_way)
        clips = self._done.clips + sum(tally.clips for tally in under_way)
        frames = self._done.frames + sum(tally.frames for tally in under_way)
        tokens = self._done.tokens + sum(tally.tokens for tally in under_way)
        before = self._earlier
        reasons = Counter(before.reasons) + Counter(self._done.reasons)
        seconds = dict(self._seconds)
        for tally in under_way:
            add_seconds(seconds, tally.seconds)
            reasons.update(tally.reasons)
        elapsed = self._clock() - self._began if self._began is not None else 0.0
        # Tars may contain items that the plan could not count.
        planned = self._planned + self._done_added + sum(tally.added for tally in under_way)
        left, done = planned - before.items - items, items
        if self._bytes:
            # In a truncated tar, the members' headers may claim more bytes than the file has.
            done = self._done_bytes + sum(tally.bytes for tally in under_way)
            left = max(0, self._bytes - done)
        return Counts(
            note=note,
            actors=actors,
            shards=Part(planned=self._num_shards, done=self._num_committed),
            items=Part(planned=planned, done=before.items + items),
            clips=before.clips + clips,
            frames=before.frames + frames,
            tokens=before.tokens + tokens,
            not_ok=before.partial
            + before.failed
            + self._done.partial
            + self._done.failed
            + sum(tally.not_ok for tally in under_way),
            reasons=dict(sorted(reasons.items())),
            rates=_rates(elapsed, items, clips, frames, tokens),
            seconds={stage: round(seconds[stage], 3) for stage in (*STAGES, GPU) if stage in seconds},
            remaining_s=round(left * elapsed / done, 1) if done and elapsed > 0 else None,
        )


def _rates(elapsed_s: float, items: int, clips: int, frames: int, tokens: int) -> Rates:
    if elapsed_s <= 0:
        return Rates()
    return Rates(
        items=round(items / elapsed_s, 3),
        clips=round(clips / elapsed_s, 3),
        frames=round(frames / elapsed_s, 3),
        tokens=round(tokens / elapsed_s, 1),
    )
