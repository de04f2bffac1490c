"""Reports a run's counts as Ray metrics, which each node exports to Prometheus as ``ray_bitmill_…``.

Only the driver reports, so that a restarted actor's work is not counted twice. "Committed" metrics follow the
ledgers and are exact: their sum over a dataset's runs is the dataset. "Encoded" metrics grow with each batch
and include work lost with an actor. Without a metrics agent, nothing happens.
"""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.pipeline.shard.progress import ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import ActorCounts

# Not ``job``, which Prometheus uses for the scrape target.
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
    "bitmill_stage_seconds": (
        "Time of decoders, actors (by stage) and GPUs, over committed shards.",
        "stage",
    ),
}
"""Description and splitting tag by metric name. Prometheus appends ``_total``."""

GAUGES: Mapping[str, tuple[str, str | None]] = {
    "bitmill_shards_remaining": ("Planned shards that are not committed.", None),
    "bitmill_items_remaining": ("Planned items that have not ended.", None),
    "bitmill_seconds_remaining": ("Time until the end at the run's rate; absent while unknown.", None),
    "bitmill_actors": ("Tokenizer actors by state: at_work, idle, starting.", "state"),
}


class RunMetrics:
    """An observer that passes each event to ``run_counts``, then reports it as metrics of the Ray session."""

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
        """Report nothing: earlier runs reported their own counts."""
        self._run_counts.begin(planned, earlier)

    def drop(self, shard_id: str) -> None:
        """Report nothing: the shard was not counted as committed, and its encoded work stays counted."""
        self._run_counts.drop(shard_id)

    def advance(self, event: ShardProgress) -> None:
        """Count the encoded clips, frames and tokens."""
        self._run_counts.advance(event)
        for what, number in (("clips", event.clips), ("frames", event.frames), ("tokens", event.tokens)):
            self._add(f"bitmill_encoded_{what}", number)

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """Count a committed shard from its ledger's totals."""
        self._run_counts.commit(shard_id, totals, seconds)
        self._add("bitmill_committed_shards", 1)
        for outcome in ("ok", "partial", "failed"):
            self._add("bitmill_committed_items", getattr(totals, outcome), outcome=outcome)
        for reason, number in totals.reasons.items():
            self._add("bitmill_committed_not_ok", number, reason=reason)
        for what in ("clips", "frames", "tokens"):
            self._add(f"bitmill_committed_{what}", getattr(totals, what))
        for stage, spent in seconds.items():
            self._add("bitmill_stage_seconds", spent, stage=stage)

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        """Set the gauges of remaining work and actors; Ray drops gauges that are not set for a while."""
        self._run_counts.refresh(note, actors)
        counts = self._run_counts.counts
        self._set("bitmill_shards_remaining", counts.shards.planned - counts.shards.done)
        self._set("bitmill_items_remaining", counts.items.planned - counts.items.done)
        if counts.remaining_s is not None:
            self._set("bitmill_seconds_remaining", counts.remaining_s)
        for state, number in counts.actors.model_dump().items():
            self._set("bitmill_actors", number, state=state)

    def _add(self, name: str, number: float, **tags: str) -> None:
        # Ray rejects an increment of 0.
        if number > 0:
            self._counters[name].inc(number, tags={**self._tags, **tags})

    def _set(self, name: str, number: float, **tags: str) -> None:
        self._gauges[name].set(number, tags={**self._tags, **tags})


def _tag_keys(tag: str | None) -> tuple[str, ...]:
    return _TAGS if tag is None else (*_TAGS, tag)
