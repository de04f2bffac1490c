"""The driver: hands shards to actors, follows them, re-queues lost ones, and ends with a result."""

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.cluster.actor import ActorSettings, TokenizerFiles
from jobs.cluster.session import ActorLostError, Cluster, Work
from jobs.observing import Observer
from jobs.prepare import PreparedJob
from pipeline.dataset_folder import committed_shards, load_ledger, publish_totals
from pipeline.shard.ledger import check_accounts, totals_of
from pipeline.shard.loop import EndedItem, ShardProgress, ShardReport
from pipeline.shard.newest import NewestAttempts
from schemas.dataset import Totals, ledger_file
from schemas.errors import InfrastructureError, TooManyFailuresError
from schemas.outcomes import Outcome
from schemas.plan import PlannedShard

_SHARD_ATTEMPTS = 3
_POLL_S = 0.5
_LEDGER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended: totals of the whole dataset, and where this run's actors spent their time."""

    totals: Totals
    seconds: dict[str, float]


def run(prepared: PreparedJob, cluster: Cluster, progress: Observer) -> RunResult:
    """Commit every remaining shard, then the totals.

    Raises TooManyFailuresError where the job's share of failures is exceeded, InfrastructureError where a
    shard loses its actor time and again, and whatever a shard raised; what is committed stays.
    """
    earlier = committed_totals(prepared)
    state = _State(prepared, earlier)
    progress.begin(state.planned, earlier)
    if state.waiting:
        num_actors = _start_actors(prepared, cluster)
        while state.waiting or state.working:
            state.idle.extend(cluster.ready_actors())
            _hand_out(state, cluster)
            for work, event in cluster.events(state.working, _POLL_S):
                _take(state, work, event, cluster, progress)
            starting = not state.working and not state.idle
            progress.refresh(f"waiting for {num_actors} tokenizer actors to start" if starting else None)
    totals = earlier + state.totals
    _check_sums(prepared, totals)
    publish_totals(prepared.folder, prepared.card, totals)
    prepared.folder.sweep_staging()
    return RunResult(totals=totals, seconds=state.seconds)


def committed_totals(prepared: PreparedJob) -> Totals:
    """Totals over what earlier runs committed, less the items that this plan does again.

    Each ledger is checked against its shard.
    """
    newest = NewestAttempts(prepared.shards)

    def totals(shard: PlannedShard) -> Totals:
        rows = load_ledger(prepared.folder, shard.shard_id)
        check_accounts(rows, shard, origin=f"{prepared.folder.uri}/{ledger_file(shard.shard_id)}")
        return totals_of(newest.counting(rows))

    committed = [shard for shard in prepared.shards if shard.shard_id in prepared.committed]
    with ThreadPoolExecutor(_LEDGER_THREADS) as pool:
        return sum(pool.map(totals, committed), start=Totals())


class _State:
    """What the driver knows of a run: shards waiting and at work, attempts, and sums so far."""

    def __init__(self, prepared: PreparedJob, earlier: Totals) -> None:
        self.prepared = prepared
        self.waiting: deque[PlannedShard] = deque(prepared.remaining)
        self.working: list[Work] = []
        self.idle: deque[int] = deque()
        self.attempts: dict[str, int] = {}
        self.totals = Totals()
        self.earlier = earlier
        # Of a tar, which is one source, only its first item can be counted before it is opened.
        self.planned = earlier.items + sum(len(shard.sources) for shard in prepared.remaining)
        self.added: Counter[str] = Counter()
        """By shard, items of tars beyond those that the plan counts."""
        self.failed: dict[str, list[EndedItem]] = {}
        self.seconds: dict[str, float] = {}


def _hand_out(state: _State, cluster: Cluster) -> None:
    while state.waiting and state.idle:
        shard = state.waiting.popleft()
        state.attempts[shard.shard_id] = state.attempts.get(shard.shard_id, 0) + 1
        state.working.append(cluster.begin(shard, state.idle.popleft()))


def _take(
    state: _State,
    work: Work,
    event: ShardProgress | ShardReport | ActorLostError,
    cluster: Cluster,
    progress: Observer,
) -> None:
    shard_id = work.shard.shard_id
    if isinstance(event, ShardProgress):
        progress.advance(event)
        state.added[shard_id] += event.added_items
        if event.ended is not None and event.ended.outcome is Outcome.FAILED:
            state.failed.setdefault(shard_id, []).append(event.ended)
            # A tar's first items say too little of its share.
            if event.ended.key is None:
                _check_failures(state)
        return
    state.working.remove(work)
    if isinstance(event, ShardReport):
        state.idle.append(work.actor)
        state.totals += event.totals
        for stage, seconds in event.seconds.items():
            state.seconds[stage] = state.seconds.get(stage, 0.0) + seconds
        progress.commit(shard_id, event.totals, event.seconds)
        _check_failures(state)
        return
    cluster.await_actor(work.actor)
    if shard_id in committed_shards(state.prepared.folder):
        # It died, or was out of reach, after the commit.
        totals = totals_of(load_ledger(state.prepared.folder, shard_id))
        state.totals += totals
        progress.commit(shard_id, totals, {})
        return
    progress.drop(shard_id)
    state.failed.pop(shard_id, None)
    state.added.pop(shard_id, None)
    if state.attempts[shard_id] >= _SHARD_ATTEMPTS:
        raise InfrastructureError(
            f"Shard {shard_id} lost its actor {_SHARD_ATTEMPTS} times ({event}). "
            "See the cluster's logs; run the same command again to resume."
        ) from event
    state.waiting.appendleft(work.shard)


def _check_failures(state: _State) -> None:
    allowed = state.prepared.job.max_failures
    planned = state.planned + state.added.total()
    items = [item for items in state.failed.values() for item in items]
    failed = state.earlier.failed + len(items)
    if allowed is None or not items or failed <= allowed * planned:
        return
    reasons = Counter(str(item.reason) for item in items).most_common(3)
    counted = ", ".join(f"{reason} {count} times" for reason, count in reasons)
    raise TooManyFailuresError(
        f"{failed} of {planned} items failed, more than max_failures {allowed:g} allows: {counted} in this "
        f"run; the last was {items[-1].source} ({items[-1].detail})"
    )


def _start_actors(prepared: PreparedJob, cluster: Cluster) -> int:
    cpus = cluster.count("CPU")
    on_gpu = prepared.device == "cuda"
    # Without GPUs one half of the CPUs tokenizes and the other decodes.
    available = cluster.count("GPU") if on_gpu else max(1, cpus // 2)
    if not available:
        raise InfrastructureError("The job runs on cuda, but the cluster has no GPU.")
    count = min(prepared.job.compute.actors or available, available, len(prepared.remaining))
    # Actors that would leave no CPU for decoding, or that work on a GPU, take none.
    actor_cpus = 0 if on_gpu or count >= cpus else 1
    decoding_cpus = max(1, cpus - count * actor_cpus)
    # One item more than can be decoded at once, so that a freed CPU finds its next item waiting.
    window = prepared.job.compute.decoders or decoding_cpus // count + 1
    settings = ActorSettings(
        context=prepared.context, output=prepared.folder.uri, device=prepared.device, window=window
    )
    tokenizer = prepared.tokenizer
    files = TokenizerFiles(config=tokenizer.config_bytes, weights=tokenizer.weights_bytes)
    cluster.start_actors(count, files, settings, actor_cpus)
    return count


def _check_sums(prepared: PreparedJob, totals: Totals) -> None:
    planned = prepared.card.num_sources
    has_archives = any(source.is_archive for shard in prepared.shards for source in shard.sources)
    if totals.items < planned or (totals.items > planned and not has_archives):
        raise InfrastructureError(
            f"The ledgers tell of {totals.items} items where {planned} were planned; "
            f"the dataset in {prepared.folder.uri} is damaged."
        )
