"""A run's counts as Ray metrics, which each node of a cluster exports to Prometheus as ``ray_bitmill_…``.

Only the driver has them, so that no restarted actor's work counts twice. What is called committed follows the
ledgers and is exact: summed over a dataset's runs, it is the dataset. What is called encoded moves with each
batch, and holds work that was lost with an actor, too. Where no agent collects metrics, nothing happens.
"""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.pipeline.shard.shard_loop import ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import ActorCounts

# Not ``job``, which is Prometheus's own label for what it scrapes.
_TAGS = ("job_name", "dataset")

COUNTERS: Mapping[str, tuple[str, str | None]] = {
    "bitmill_committed_shards": ("Shards committed.", None),
    "bitmill_committed_items": ("Items of committed shards, by outcome.", "outcome"),
    "bitmill_committed_not_ok": ("Partial and failed items of committed shards, by reason.", "reason"),
    "bitmill_committed_clips": ("Clips of committed shards.", None),
    "bitmill_committed_frames": ("Frames of committed shards.", None),
    "bitmill_committed_tokens": ("Tokens of committed shards.", None),
    "bitmill_encoded_clips": ("Clips encoded, work lost with an actor included.", None),
    "bitmill_encoded_frames": ("Frames encoded, work lost with an actor included.", None),
    "bitmill_encoded_tokens": ("Tokens encoded, work lost with an actor included.", None),
    "bitmill_stage_seconds": ("Time of decoders and actors by stage, over committed shards.", "stage"),
}
"""By name, a description and the tag that splits it. Prometheus adds ``_total``."""

GAUGES: Mapping[str, tuple[str, str | None]] = {
    "bitmill_shards_remaining": ("Planned shards that are not committed.", None),
    "bitmill_items_remaining": ("Planned items that have not ended.", None),
    "bitmill_seconds_remaining": ("Time until the end at the run's rate; absent while unknown.", None),
    "bitmill_actors": ("Tokenizer actors by state: at_work, idle, starting.", "state"),
}


class RunMetrics:
    """An observer that tells Ray's metrics what it hears, in the Ray session of its process.

    It stands behind ``run_counts`` among the observers, whose counts it shows with each refresh.
    """

    def __init__(self, run_counts: RunCounts, *, job_name: str, dataset: str) -> None:
        self._run_counts = run_counts
        self._tags = {"job_name": job_name, "dataset": dataset}
        self._counters = {
            name: Counter(name, description=text, tag_keys=_tag_keys(tag))
            for name, (text, tag) in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(name, description=text, tag_keys=_tag_keys(tag))
            for name, (text, tag) in GAUGES.items()
        }

    def begin(self, planned: int, earlier: Totals) -> None:
        """What earlier runs did, they have counted."""

    def drop(self, shard_id: str) -> None:
        """Nothing of it was told as committed; it was encoded all the same."""

    def advance(self, event: ShardProgress) -> None:
        """Count what was encoded."""
        for what, number in (("clips", event.clips), ("frames", event.frames), ("tokens", event.tokens)):
            self._add(f"bitmill_encoded_{what}", number)

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:  # noqa: ARG002
        """Count a shard by its ledger."""
        self._add("bitmill_committed_shards", 1)
        for outcome in ("ok", "partial", "failed"):
            self._add("bitmill_committed_items", getattr(totals, outcome), outcome=outcome)
        for reason, number in totals.reasons.items():
            self._add("bitmill_committed_not_ok", number, reason=reason)
        for what in ("clips", "frames", "tokens"):
            self._add(f"bitmill_committed_{what}", getattr(totals, what))
        for stage, spent in seconds.items():
            self._add("bitmill_stage_seconds", spent, stage=stage)

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:  # noqa: ARG002
        """Show what remains, and the actors; Ray forgets a gauge that is not set for some time."""
        counts = self._run_counts.counts
        self._set("bitmill_shards_remaining", counts.shards.planned - counts.shards.done)
        self._set("bitmill_items_remaining", counts.items.planned - counts.items.done)
        if counts.remaining_s is not None:
            self._set("bitmill_seconds_remaining", counts.remaining_s)
        for state, number in counts.actors.model_dump().items():
            self._set("bitmill_actors", number, state=state)

    def _add(self, name: str, number: float, **tags: str) -> None:
        # Ray refuses to add nothing.
        if number > 0:
            self._counters[name].inc(number, tags={**self._tags, **tags})

    def _set(self, name: str, number: float, **tags: str) -> None:
        self._gauges[name].set(number, tags={**self._tags, **tags})


def _tag_keys(tag: str | None) -> tuple[str, ...]:
    return _TAGS if tag is None else (*_TAGS, tag)
