"""The driver: runs all remaining shards on an actor pool and sums up their results."""

import secrets
import time
from dataclasses import dataclass

from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.jobs.cluster.tokenizing.actor import ShardEvent
from bitmill.jobs.execution.actor_pool import ActorPool
from bitmill.jobs.execution.failures import Failures
from bitmill.jobs.execution.totals_checkpoint import TotalsCheckpoint
from bitmill.jobs.preparation.prepare import PreparedJob
from bitmill.jobs.progress.observers import Observer
from bitmill.jobs.scheduling.actor_events import ActorLostError, Assignment, ProbeStarted
from bitmill.jobs.scheduling.graceful_shutdown import Drain, StopRequest, interrupted
from bitmill.jobs.scheduling.shard_queue import ShardQueue
from bitmill.pipeline.dataset.dataset_folder import load_ledger, publish_totals
from bitmill.pipeline.dataset.ledger import totals_of
from bitmill.pipeline.dataset.totals import committed_accounts
from bitmill.pipeline.dataset.totals_cache import remembered_totals
from bitmill.pipeline.shard.progress import ShardProgress, ShardReport, add_seconds
from bitmill.pipeline.storage import sweep_copies
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import Totals, shard_file
from bitmill.schemas.errors import InfrastructureError, TooManyFailuresError
from bitmill.schemas.outcomes import Reason

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Totals of the whole dataset, and the seconds that this run's actors spent per stage."""

    totals: Totals
    seconds: dict[str, float]


def run(
    prepared: PreparedJob, cluster: Cluster, progress: Observer, stop: StopRequest | None = None
) -> RunResult:
    """Commit every remaining shard, then the totals.

    Raises TooManyFailuresError if failures exceed ``max_failures``, InfrastructureError if a shard loses its
    actor too often, InterruptedJobError if ``stop`` was requested, and any error that a shard raised.
    Committed shards stay.
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
        refreshed = -_POLL_S
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
            if time.monotonic() - refreshed >= _POLL_S:
                refreshed = time.monotonic()
                progress.refresh(_note(queue, actor_pool, drain), actor_pool.count)
                state.memory.keep()
    progress.refresh()


class _State:
    """Running sums of a run: totals of its shards, failed items, and seconds by stage."""

    def __init__(
        self, prepared: PreparedJob, progress: Observer, earlier: Totals, memory: TotalsCheckpoint
    ) -> None:
        self.prepared = prepared
        self.memory = memory
        self.progress = progress
        self.totals = Totals()
        self.earlier = earlier
        # A tar counts as one item until it is opened.
        self.planned = earlier.items + sum(len(shard.sources) for shard in prepared.remaining)
        self.failures = Failures()
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
    # A tar's first items are no estimate of its share of failures.
    if state.failures.advance(event):
        _check_failures(state)


def _commit(state: _State, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
    state.totals += totals
    state.memory.commit(shard_id, totals)
    add_seconds(state.seconds, seconds)
    state.progress.commit(shard_id, totals, seconds)


def _lose(state: _State, assignment: Assignment, error: ActorLostError, actor_pool: ActorPool) -> None:
    shard_id = assignment.shard.shard_id
    committed = state.prepared.folder.exists(shard_file(shard_id))
    if committed:
        # The actor died, or became unreachable, after the commit.
        _commit(state, shard_id, totals_of(load_ledger(state.prepared.folder, shard_id)), {})
    else:
        state.progress.drop(shard_id)
        state.failures.drop(shard_id)
    actor_pool.lost(assignment, error, committed=committed)


def _note(queue: ShardQueue, actor_pool: ActorPool, drain: Drain) -> str | None:
    if drain.draining:
        return f"stopping: waiting for {counted(len(queue.at_work), 'running shard')} to finish"
    if not queue.actors:
        return f"waiting for {counted(actor_pool.num_actors, 'tokenizer actor')} to start"
    return None


def _check_failures(state: _State) -> None:
    allowed, failures = state.prepared.job.max_failures, state.failures
    planned = state.planned + failures.added_items
    # Removed items are not failures. The sums do not distinguish items that lost all clips from partial ones.
    removed = state.earlier.reasons.get(Reason.REMOVED, 0)
    failed = max(0, state.earlier.failed - removed) + failures.count
    if allowed is None or not failures.count or failed <= allowed * planned:
        return
    raise TooManyFailuresError(
        f"{failed} of {counted(str(planned), 'item')} failed, more than max_failures {allowed:g} allows: "
        f"{failures.told()}"
    )


def _check_sums(prepared: PreparedJob, totals: Totals) -> None:
    planned = prepared.card.num_sources
    has_archives = any(source.is_archive for shard in prepared.shards for source in shard.sources)
    if totals.items < planned or (totals.items > planned and not has_archives):
        raise InfrastructureError(
            f"The ledgers list {totals.items} items, but {planned} were planned; the dataset in "
            f"{prepared.folder.uri} is damaged. Find the fault with bitmill audit."
        )
