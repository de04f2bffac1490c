"""The driver: hands shards to actors, follows them, re-queues lost ones, and ends with a result."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.cluster.actor import ActorSettings, TokenizerFiles
from jobs.cluster.session import ActorLostError, Cluster, Work
from jobs.prepare import PreparedJob
from jobs.progress import Progress
from pipeline.dataset_folder import load_ledger
from pipeline.shard.ledger import totals_of
from pipeline.shard.loop import ShardProgress, ShardReport
from schemas.dataset import DATASET_FILE, Totals
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


def run(prepared: PreparedJob, cluster: Cluster, progress: Progress) -> RunResult:
    """Commit every remaining shard, then the totals.

    Raises TooManyFailuresError where the job's share of failures is exceeded, InfrastructureError where a
    shard loses its actor time and again, and whatever a shard raised; what is committed stays.
    """
    earlier = committed_totals(prepared)
    progress.begin(prepared.card.num_sources, earlier)
    state = _State(prepared, failed_before=earlier.failed)
    if state.waiting:
        num_actors = _actor_count(prepared, cluster)
        _start_actors(prepared, cluster, num_actors)
        state.idle.extend(range(num_actors))
        while state.waiting or state.working:
            _hand_out(state, cluster)
            for work, event in cluster.events(state.working, _POLL_S):
                _take(state, work, event, progress)
            progress.refresh()
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
    """What the driver knows of a run: shards waiting and at work, attempts, and sums so far."""

    def __init__(self, prepared: PreparedJob, failed_before: int) -> None:
        self.prepared = prepared
        self.waiting: deque[PlannedShard] = deque(prepared.remaining)
        self.working: list[Work] = []
        self.idle: deque[int] = deque()
        self.attempts: dict[str, int] = {}
        self.totals = Totals()
        self.failed_before = failed_before
        self.failed: dict[str, int] = {}
        self.seconds: dict[str, float] = {}


def _hand_out(state: _State, cluster: Cluster) -> None:
    while state.waiting and state.idle:
        shard = state.waiting.popleft()
        state.attempts[shard.shard_id] = state.attempts.get(shard.shard_id, 0) + 1
        state.working.append(cluster.begin(shard, state.idle.popleft()))


def _take(
    state: _State, work: Work, event: ShardProgress | ShardReport | ActorLostError, progress: Progress
) -> None:
    if isinstance(event, ShardProgress):
        progress.advance(event)
        failed = sum(outcome == Outcome.FAILED for outcome in event.outcomes)
        state.failed[event.shard_id] = state.failed.get(event.shard_id, 0) + failed
        _check_failures(state)
        return
    state.working.remove(work)
    state.idle.append(work.actor)
    if isinstance(event, ShardReport):
        state.totals += event.totals
        for stage, seconds in event.seconds.items():
            state.seconds[stage] = state.seconds.get(stage, 0.0) + seconds
        return
    progress.drop(work.shard.shard_id)
    state.failed.pop(work.shard.shard_id, None)
    if state.attempts[work.shard.shard_id] >= _SHARD_ATTEMPTS:
        raise InfrastructureError(
            f"Shard {work.shard.shard_id} lost its actor {_SHARD_ATTEMPTS} times ({event}). "
            "See the cluster's logs; run the same command again to resume."
        ) from event
    state.waiting.appendleft(work.shard)


def _check_failures(state: _State) -> None:
    allowed = state.prepared.job.max_failures
    planned = state.prepared.card.num_sources
    failed = state.failed_before + sum(state.failed.values())
    if allowed is not None and failed > allowed * planned:
        raise TooManyFailuresError(
            f"{failed} of {planned} items failed, more than max_failures {allowed:g} allows; "
            f"see the ledger in {state.prepared.folder.uri}/ledger for the reasons."
        )


def _actor_count(prepared: PreparedJob, cluster: Cluster) -> int:
    wanted = prepared.job.compute.actors
    if prepared.device == "cuda":
        available = cluster.count("GPU")
        if not available:
            raise InfrastructureError("The job runs on cuda, but the cluster has no GPU.")
    else:
        # The other half of the CPUs decodes.
        available = max(1, cluster.count("CPU") // 2)
    return min(wanted or available, available, len(prepared.remaining))


def _start_actors(prepared: PreparedJob, cluster: Cluster, count: int) -> None:
    decoding_cpus = max(1, cluster.count("CPU") - count)
    # One item more than can be decoded at once, so that a freed CPU finds its next item waiting.
    window = prepared.job.compute.decoders or decoding_cpus // count + 1
    settings = ActorSettings(
        context=prepared.context, output=prepared.folder.uri, device=prepared.device, window=window
    )
    tokenizer = prepared.tokenizer
    files = TokenizerFiles(config=tokenizer.config_bytes, weights=tokenizer.weights_bytes)
    cluster.start_actors(count, files, settings)


def _check_sums(prepared: PreparedJob, totals: Totals) -> None:
    planned: Sequence[int] = [len(shard.sources) for shard in prepared.shards]
    if totals.items != sum(planned):
        raise InfrastructureError(
            f"The ledgers tell of {totals.items} items where {sum(planned)} were planned; "
            f"the dataset in {prepared.folder.uri} is damaged."
        )
