"""The driver: keeps shards at work, follows them, adds up what they did, and ends with a result."""

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.assignment import ActorLostError, Assignment, TriedAlone
from jobs.cluster.actor import ShardEvent
from jobs.cluster.session import Cluster
from jobs.draining import Drain, StopRequest, interrupted
from jobs.prepare import PreparedJob
from jobs.progress import Progress
from jobs.queue import ShardQueue
from jobs.staff import Staff
from pipeline.dataset_folder import load_ledger
from pipeline.shard.ledger import totals_of
from pipeline.shard.loop import EndedItem, ShardProgress, ShardReport
from schemas.dataset import DATASET_FILE, Totals, shard_file
from schemas.errors import InfrastructureError, TooManyFailuresError
from schemas.outcomes import Outcome

_POLL_S = 0.5
_LEDGER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended: totals of the whole dataset, and where this run's actors spent their time."""

    totals: Totals
    seconds: dict[str, float]


def run(
    prepared: PreparedJob, cluster: Cluster, progress: Progress, stop: StopRequest | None = None
) -> RunResult:
    """Commit every remaining shard, then the totals.

    Raises TooManyFailuresError where the job's share of failures is exceeded, InfrastructureError where a
    shard loses its actor time and again, InterruptedJobError where ``stop`` was asked for, and whatever a
    shard raised; what is committed stays.
    """
    earlier = committed_totals(prepared)
    progress.begin(prepared.card.num_sources, earlier)
    state = _State(prepared, progress, failed_before=earlier.failed)
    queue = ShardQueue(prepared.remaining)
    if queue.unfinished:
        staff = Staff(prepared, queue, cluster, run_id=secrets.token_hex(3))
        drain = Drain(stop or StopRequest(), prepared.job.compute.grace_s, time.monotonic)
        while queue.unfinished:
            if drain.draining:
                queue.stop()
                if drain.over or not queue.at_work:
                    raise interrupted()
            staff.tend()
            for assignment, event in staff.events(_POLL_S):
                _take(state, assignment, event, staff)
            for assignment, event in staff.ended():
                _take(state, assignment, event, staff)
            progress.refresh(_note(queue, staff, drain))
    totals = earlier + state.totals
    _check_sums(prepared, totals)
    card = prepared.card.model_copy(update={"totals": totals})
    prepared.folder.write_bytes(DATASET_FILE, card.to_json())
    prepared.folder.sweep_staging()
    return RunResult(totals=totals, seconds=state.seconds)


def committed_totals(prepared: PreparedJob) -> Totals:
    """Totals over the ledgers of shards that earlier runs committed."""
    shard_ids = sorted(prepared.committed)
    with ThreadPoolExecutor(_LEDGER_THREADS) as pool:
        ledgers = pool.map(lambda shard_id: load_ledger(prepared.folder, shard_id), shard_ids)
        return sum((totals_of(rows) for rows in ledgers), start=Totals())


class _State:
    """What a run adds up: totals of its shards, failed items, and seconds by stage."""

    def __init__(self, prepared: PreparedJob, progress: Progress, failed_before: int) -> None:
        self.prepared = prepared
        self.progress = progress
        self.totals = Totals()
        self.failed_before = failed_before
        self.failed: dict[str, list[EndedItem]] = {}
        self.seconds: dict[str, float] = {}


def _take(
    state: _State,
    assignment: Assignment,
    event: ShardEvent | ActorLostError,
    staff: Staff,
) -> None:
    shard_id = assignment.shard.shard_id
    if isinstance(event, TriedAlone):
        staff.queue.trying(assignment, event.place)
        return
    if isinstance(event, ShardProgress):
        state.progress.advance(event)
        if event.ended is not None and event.ended.outcome is Outcome.FAILED:
            state.failed.setdefault(shard_id, []).append(event.ended)
            _check_failures(state)
        return
    if isinstance(event, ShardReport):
        staff.finished(assignment)
        state.totals += event.totals
        for stage, seconds in event.seconds.items():
            state.seconds[stage] = state.seconds.get(stage, 0.0) + seconds
        return
    committed = state.prepared.folder.exists(shard_file(shard_id))
    if committed:
        # It died, or was out of reach, after the commit.
        state.totals += totals_of(load_ledger(state.prepared.folder, shard_id))
    else:
        state.progress.drop(shard_id)
        state.failed.pop(shard_id, None)
    staff.lost(assignment, event, committed=committed)


def _note(queue: ShardQueue, staff: Staff, drain: Drain) -> str | None:
    if drain.draining:
        return f"stopping: {len(queue.at_work)} shards at work may finish"
    if not queue.actors:
        return f"waiting for {staff.num_actors} tokenizer actors to start"
    return None


def _check_failures(state: _State) -> None:
    allowed = state.prepared.job.max_failures
    planned = state.prepared.card.num_sources
    items = [item for items in state.failed.values() for item in items]
    failed = state.failed_before + len(items)
    if allowed is None or failed <= allowed * planned:
        return
    reasons = Counter(str(item.reason) for item in items).most_common(3)
    counted = ", ".join(f"{reason} {count} times" for reason, count in reasons)
    raise TooManyFailuresError(
        f"{failed} of {planned} items failed, more than max_failures {allowed:g} allows: {counted} in this "
        f"run; the last was {items[-1].source} ({items[-1].detail})"
    )


def _check_sums(prepared: PreparedJob, totals: Totals) -> None:
    planned: Sequence[int] = [len(shard.sources) for shard in prepared.shards]
    if totals.items != sum(planned):
        raise InfrastructureError(
            f"The ledgers tell of {totals.items} items where {sum(planned)} were planned; "
            f"the dataset in {prepared.folder.uri} is damaged."
        )
