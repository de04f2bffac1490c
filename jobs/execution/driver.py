"""The driver: keeps shards at work, follows them, adds up what they did, and ends with a result."""

import secrets
import time
from collections import Counter
from dataclasses import dataclass

from bitmill.jobs.cluster.connection.session import Cluster
from bitmill.jobs.cluster.tokenizing.actor import ShardEvent
from bitmill.jobs.execution.actor_pool import ActorPool
from bitmill.jobs.execution.totals_checkpoint import TotalsCheckpoint
from bitmill.jobs.preparation.prepare import PreparedJob
from bitmill.jobs.progress.observers import Observer
from bitmill.jobs.scheduling.assignment import ActorLostError, Assignment, ProbeStarted
from bitmill.jobs.scheduling.drain import Drain, StopRequest, interrupted
from bitmill.jobs.scheduling.shard_queue import ShardQueue
from bitmill.pipeline.dataset.dataset_folder import load_ledger, publish_totals
from bitmill.pipeline.dataset.ledger import totals_of
from bitmill.pipeline.dataset.totals import committed_accounts
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.shard.shard_loop import EndedItem, ShardProgress, ShardReport
from bitmill.pipeline.storage import sweep_copies
from bitmill.schemas.dataset.card import Totals, shard_file
from bitmill.schemas.errors import InfrastructureError, TooManyFailuresError
from bitmill.schemas.outcomes import Outcome, Reason

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended: totals of the whole dataset, and where this run's actors spent their time."""

    totals: Totals
    seconds: dict[str, float]


def run(
    prepared: PreparedJob, cluster: Cluster, progress: Observer, stop: StopRequest | None = None
) -> RunResult:
    """Commit every remaining shard, then the totals.

    Raises TooManyFailuresError where the job's share of failures is exceeded, InfrastructureError where a
    shard loses its actor time and again, InterruptedJobError where ``stop`` was asked for, and whatever a
    shard raised; what is committed stays.
    """
    remembered = remembered_totals(prepared.folder)
    accounts = committed_accounts(prepared.folder, prepared.shards, prepared.committed, remembered)
    memory = TotalsCheckpoint(prepared.folder, accounts.of_shards, remembered)
    earlier = accounts.totals
    state = _State(prepared, progress, earlier, memory)
    with memory:
        _work(prepared, cluster, state, stop)
    totals = earlier + state.totals
    _check_sums(prepared, totals)
    publish_totals(prepared.folder, prepared.card, totals)
    prepared.folder.sweep_staging()
    sweep_copies()
    return RunResult(totals=totals, seconds=state.seconds)


def _work(prepared: PreparedJob, cluster: Cluster, state: "_State", stop: StopRequest | None) -> None:
    """Commit every remaining shard."""
    progress, earlier = state.progress, state.earlier
    progress.begin(state.planned, earlier)
    queue = ShardQueue(prepared.remaining)
    if queue.unfinished:
        actor_pool = ActorPool(prepared, queue, cluster, run_id=secrets.token_hex(3))
        drain = Drain(stop or StopRequest(), prepared.job.compute.grace_s, time.monotonic)
        while queue.unfinished:
            if drain.draining:
                queue.stop()
                if drain.over or not queue.at_work:
                    raise interrupted()
            actor_pool.tick()
            for assignment, event in actor_pool.events(_POLL_S):
                _take(state, assignment, event, actor_pool)
            for assignment, event in actor_pool.ended():
                _take(state, assignment, event, actor_pool)
            progress.refresh(_note(queue, actor_pool, drain), actor_pool.count)
            state.memory.keep()
    progress.refresh()


class _State:
    """What a run adds up: totals of its shards, failed items, and seconds by stage."""

    def __init__(
        self, prepared: PreparedJob, progress: Observer, earlier: Totals, memory: TotalsCheckpoint
    ) -> None:
        self.prepared = prepared
        self.memory = memory
        self.progress = progress
        self.totals = Totals()
        self.earlier = earlier
        # Of a tar, which is one source, only its first item can be counted before it is opened.
        self.planned = earlier.items + sum(len(shard.sources) for shard in prepared.remaining)
        self.added: Counter[str] = Counter()
        """By shard, items of tars beyond those that the plan counts."""
        self.failed: dict[str, list[EndedItem]] = {}
        self.seconds: dict[str, float] = {}


def _take(
    state: _State,
    assignment: Assignment,
    event: ShardEvent | ActorLostError,
    actor_pool: ActorPool,
) -> None:
    if isinstance(event, ProbeStarted):
        actor_pool.queue.trying(assignment, event.place)
    elif isinstance(event, ShardProgress):
        _advance(state, event)
    elif isinstance(event, ShardReport):
        actor_pool.finished(assignment)
        _commit(state, event.shard_id, event.totals, event.seconds)
        _check_failures(state)
    else:
        _lose(state, assignment, event, actor_pool)


def _advance(state: _State, event: ShardProgress) -> None:
    state.progress.advance(event)
    state.added[event.shard_id] += event.added_items
    ended = event.ended
    if ended is not None and ended.outcome is Outcome.FAILED and ended.reason is not Reason.REMOVED:
        state.failed.setdefault(event.shard_id, []).append(ended)
        # A tar's first items say too little of its share.
        if ended.key is None:
            _check_failures(state)


def _commit(state: _State, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
    state.totals += totals
    state.memory.commit(shard_id, totals)
    for stage, spent in seconds.items():
        state.seconds[stage] = state.seconds.get(stage, 0.0) + spent
    state.progress.commit(shard_id, totals, seconds)


def _lose(state: _State, assignment: Assignment, error: ActorLostError, actor_pool: ActorPool) -> None:
    shard_id = assignment.shard.shard_id
    committed = state.prepared.folder.exists(shard_file(shard_id))
    if committed:
        # It died, or was out of reach, after the commit.
        _commit(state, shard_id, totals_of(load_ledger(state.prepared.folder, shard_id)), {})
    else:
        state.progress.drop(shard_id)
        state.failed.pop(shard_id, None)
        state.added.pop(shard_id, None)
    actor_pool.lost(assignment, error, committed=committed)


def _note(queue: ShardQueue, actor_pool: ActorPool, drain: Drain) -> str | None:
    if drain.draining:
        return f"stopping: {len(queue.at_work)} shards at work may finish"
    if not queue.actors:
        return f"waiting for {actor_pool.num_actors} tokenizer actors to start"
    return None


def _check_failures(state: _State) -> None:
    allowed = state.prepared.job.max_failures
    planned = state.planned + state.added.total()
    items = [item for items in state.failed.values() for item in items]
    # What was taken down is no failure; sums do not tell items that lost all clips from those that lost some.
    removed = state.earlier.reasons.get(Reason.REMOVED, 0)
    failed = max(0, state.earlier.failed - removed) + len(items)
    if allowed is None or not items or failed <= allowed * planned:
        return
    reasons = Counter(str(item.reason) for item in items).most_common(3)
    counted = ", ".join(f"{reason} {count} times" for reason, count in reasons)
    raise TooManyFailuresError(
        f"{failed} of {planned} items failed, more than max_failures {allowed:g} allows: {counted} in this "
        f"run; the last was {items[-1].source} ({items[-1].detail})"
    )


def _check_sums(prepared: PreparedJob, totals: Totals) -> None:
    planned = prepared.card.num_sources
    has_archives = any(source.is_archive for shard in prepared.shards for source in shard.sources)
    if totals.items < planned or (totals.items > planned and not has_archives):
        raise InfrastructureError(
            f"The ledgers tell of {totals.items} items where {planned} were planned; "
            f"the dataset in {prepared.folder.uri} is damaged."
        )
