"""The driver's decisions, on a fake cluster that loses actors and shards to order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitmill.jobs.cluster.tokenizing.actor_handles import Work
from bitmill.jobs.execution.driver import run
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.scheduling.actor_events import ActorLostError, Assignment, Loss, ProbeStarted, Withdrawn
from bitmill.jobs.scheduling.autoscaling import Capacity, DecodeWindowSize
from bitmill.jobs.scheduling.graceful_shutdown import StopRequest
from bitmill.pipeline.dataset.dataset_folder import committed_shards, load_ledger, require_card
from bitmill.pipeline.items import ItemEnd
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import InfrastructureError, InterruptedJobError, TooManyFailuresError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.status_file import Part
from tests.support.fakes import HashEncoder, make_item, make_job

Fault = Callable[[str, int], Exception | None]


class FakeCluster:
    """Cluster and its actors: runs shards in this process, one event a poll.

    ``fault`` may take a shard's attempt away; ``killers`` are sources under which actors die.
    """

    may_grow = True
    answers_late = False
    """Whether a shard that was asked back is told by its actor's turn to it, rather than before."""

    def __init__(
        self,
        fault: Fault,
        *,
        cpus: int = 4,
        failing: frozenset[int] = frozenset(),
        killers: frozenset[int] = frozenset(),
        mute: frozenset[int] = frozenset(),
    ) -> None:
        self._fault = fault
        self.cpus = cpus
        self._failing = failing
        self._killers = killers
        self._mute = mute
        """Actors whose node is gone, of which their shards' streams never tell."""
        self.attempts: list[tuple[str, int]] = []
        self.ahead: list[str] = []
        self.most_actors = 0
        self.removed: list[int] = []
        self._held: dict[int, int] = {}
        self._ready: list[int] = []
        self._started = 0
        self._begun: set[int] = set()
        self._asked_back: list[Assignment] = []

    def capacity(self) -> Capacity:
        return Capacity(cpus=self.cpus, gpus=0)

    def start_actors(self, files: Any, settings: Any, num_gpus: float) -> "FakeCluster":
        self._settings = settings
        return self

    def start(self, num_cpus: int) -> int:
        number, self._started = self._started, self._started + 1
        self._held[number] = num_cpus
        self._ready.append(number)
        self.most_actors = max(self.most_actors, len(self._held))
        return number

    def held_cpus(self) -> dict[int, int]:
        return dict(self._held)

    def ready(self) -> tuple[list[int], list[str]]:
        ready, self._ready = self._ready, []
        return [actor for actor in ready if actor in self._held], []

    def remove(self, actor: int) -> None:
        if self._held.pop(actor, None) is not None:
            self.removed.append(actor)

    def withdraw(self, assignment: Assignment) -> None:
        self._asked_back.append(assignment)

    def withdrawn(self) -> list[tuple[Assignment, bool]]:
        if self.answers_late:
            return []
        asked, self._asked_back = self._asked_back, []
        return [(assignment, assignment.number not in self._begun) for assignment in asked]

    def ask_heartbeat(self, actor: int) -> None:
        pass

    def heartbeats(self) -> tuple[dict[int, int], dict[int, ActorLostError]]:
        gone = {
            actor: ActorLostError(Loss.NODE_LOST, "its node is gone") for actor in self._mute & {*self._held}
        }
        return {}, gone

    def begin(self, assignment: Assignment, window: DecodeWindowSize, *, ahead: bool) -> Work:
        shard = assignment.shard
        self.window = window
        if ahead:
            self.ahead.append(shard.shard_id)
        self.attempts.append((shard.shard_id, assignment.actor))
        return Work(assignment, self._events(assignment))

    def _events(self, assignment: Assignment):
        shard, isolation = assignment.shard, assignment.isolation
        if assignment in self._asked_back:
            return
        self._begun.add(assignment.number)
        numbers = range(shard.first_source_index, shard.first_source_index + len(shard.sources))
        killers = {place for place, n in enumerate(numbers) if n in self._killers}
        if isolation is not None:
            for place in range(isolation.try_from, len(shard.sources)):
                yield ProbeStarted(place=place)
                if place in killers:
                    raise ActorLostError(Loss.DIED, "segfault")
            yield ProbeStarted(place=None)
        skipped = isolation.skipped if isolation is not None else {}
        items = [
            iter([ItemEnd.unread(skipped[place].reason, skipped[place].detail)])
            if place in skipped
            else make_item(
                n, [] if n in self._failing else [2], reason=Reason.CORRUPT if n in self._failing else None
            )
            for place, n in enumerate(numbers)
        ]
        context = self._settings.context
        attempt = sum(shard_id == shard.shard_id for shard_id, _ in self.attempts)
        for event in tokenize_shard(shard, items, HashEncoder(), context, Folder(self._settings.output)):
            error = self._fault(shard.shard_id, attempt)
            if error is not None:
                raise error
            if killers - set(skipped):
                raise ActorLostError(Loss.DIED, "segfault")
            yield event

    def events(self, works: list[Work], timeout_s: float):
        for work in list(works):
            if work.assignment.actor in self._mute:
                continue
            try:
                event = next(work.generator)
            except ActorLostError as error:
                event = error
            except StopIteration:
                event = Withdrawn()
            yield work, event


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedJob:
    media = tmp_path / "media"
    media.mkdir()
    for number in range(6):
        (media / f"{number}.mp4").write_bytes(b"x")
    job = make_job(
        source={"paths": [str(media)]}, output=str(tmp_path / "tokens"), sharding={"max_sources": 2}
    )
    return prepare(job, cluster_has_gpus=lambda: False)


def _run(prepared: PreparedJob, cluster: FakeCluster, stop: StopRequest | None = None):
    run_counts = RunCounts(num_sources=0, num_shards=len(prepared.shards), num_committed=0)
    return run(prepared, cluster, run_counts, stop), run_counts  # type: ignore[arg-type]


def _never(shard_id: str, attempt: int) -> None:
    return None


def test_an_actor_whose_shard_never_tells_of_its_death_is_found_dead(prepared):
    result = _run(prepared, FakeCluster(lambda *_: None, mute=frozenset({0})))[0]
    assert result.totals.ok == 6


def test_every_shard_is_committed_and_the_card_sums_up(prepared):
    cluster = FakeCluster(_never)
    result, _ = _run(prepared, cluster)
    assert committed_shards(prepared.folder) == {shard.shard_id for shard in prepared.shards}
    assert (result.totals.ok, result.totals.clips) == (6, 6)
    assert require_card(prepared.folder).totals == result.totals
    assert cluster.most_actors == 2
    assert not (Path(prepared.folder.uri) / ".staging").exists()


def test_a_lost_actors_shard_is_done_again_and_counted_once(prepared):
    lost = prepared.shards[1].shard_id

    def fault(shard_id: str, attempt: int) -> Exception | None:
        return ActorLostError(Loss.DIED, "died") if shard_id == lost and attempt < 3 else None

    cluster = FakeCluster(fault)
    result, run_counts = _run(prepared, cluster)
    assert [shard_id for shard_id, _ in cluster.attempts].count(lost) == 3
    assert result.totals.ok == 6
    counts = run_counts.counts
    assert (counts.items, counts.shards, counts.clips) == (
        Part(planned=6, done=6),
        Part(planned=3, done=3),
        6,
    )


def test_a_shard_that_always_loses_its_actor_ends_the_job(prepared):
    lost = prepared.shards[0].shard_id
    cluster = FakeCluster(lambda shard_id, _: ActorLostError(Loss.DIED, "died") if shard_id == lost else None)
    with pytest.raises(InfrastructureError, match=f"Shard {lost} lost its actor 4 times"):
        _run(prepared, cluster)
    assert lost not in committed_shards(prepared.folder)
    assert require_card(prepared.folder).totals is None


def test_failures_of_a_repeated_shard_are_not_counted_twice(prepared):
    first = prepared.shards[0].shard_id
    job = prepared.job.model_copy(update={"max_failures": 0.2})
    once = PreparedJob(**{**prepared.__dict__, "job": job})

    def fault(shard_id: str, attempt: int) -> Exception | None:
        return ActorLostError(Loss.DIED, "died") if shard_id == first and attempt == 1 else None

    result, _ = _run(once, FakeCluster(fault, failing=frozenset({0})))
    assert (result.totals.ok, result.totals.failed) == (5, 1)


def test_more_failures_than_allowed_stop_the_job(prepared):
    job = prepared.job.model_copy(update={"max_failures": 0.2})
    strict = PreparedJob(**{**prepared.__dict__, "job": job})
    with pytest.raises(TooManyFailuresError, match=r"2 of 6 items failed, more than max_failures 0\.2"):
        _run(strict, FakeCluster(_never, failing=frozenset({0, 5})))


def test_failures_of_earlier_runs_count(prepared, tmp_path):
    lost = prepared.shards[2].shard_id
    with pytest.raises(InfrastructureError, match="lost its actor"):
        _run(
            prepared,
            FakeCluster(
                lambda shard_id, _: ActorLostError(Loss.DIED, "died") if shard_id == lost else None,
                failing=frozenset({0, 1}),
                cpus=1,
            ),
        )
    strict = prepared.job.model_copy(update={"max_failures": 0.4})
    again = prepare(strict, cluster_has_gpus=lambda: False)
    assert [shard.shard_id for shard in again.remaining] == [lost]
    with pytest.raises(TooManyFailuresError, match="3 of 6 items failed"):
        _run(again, FakeCluster(_never, failing=frozenset({4})))


def test_an_actor_lost_after_its_commit_is_not_run_again(prepared):
    first = prepared.shards[0].shard_id

    def fault(shard_id: str, attempt: int) -> Exception | None:
        committed = shard_id in committed_shards(prepared.folder)
        return ActorLostError(Loss.DIED, "died") if shard_id == first and committed else None

    cluster = FakeCluster(fault)
    result, _ = _run(prepared, cluster)
    assert [shard_id for shard_id, _ in cluster.attempts].count(first) == 1
    assert (result.totals.items, result.totals.clips) == (6, 6)


def test_actors_that_die_before_they_are_ready_end_the_job_with_the_cause(prepared):
    class NeverReady(FakeCluster):
        def ready(self) -> tuple[list[int], list[str]]:
            gone, self._ready, self._held = self._ready, [], {}
            return [], [f"No module of actor {actor}." for actor in gone]

    with pytest.raises(
        InfrastructureError, match=r"the last error: No module of actor \d\. Committed shards stay"
    ):
        _run(prepared, NeverReady(_never))


@pytest.mark.parametrize(("cpus", "actors", "actor_cpus"), [(1, 1, 0), (2, 1, 1), (4, 2, 1), (64, 3, 1)])
def test_decoding_always_has_a_cpu(prepared, cpus, actors, actor_cpus):
    cluster = FakeCluster(_never, cpus=cpus)
    _run(prepared, cluster)
    assert cluster.held_cpus() == dict.fromkeys(range(actors), actor_cpus)


def test_what_a_shard_raises_reaches_the_caller(prepared):
    with pytest.raises(InfrastructureError, match="disk"):
        _run(prepared, FakeCluster(lambda *_: InfrastructureError("disk")))


def test_a_finished_dataset_is_known_without_work(prepared):
    assert prepared.finished is None
    result, _ = _run(prepared, FakeCluster(_never))
    again = prepare(prepared.job, cluster_has_gpus=lambda: False)
    assert again.finished == result.totals
    assert again.remaining == []


def test_a_lost_ledger_is_named_and_what_to_do(prepared):
    _run(prepared, FakeCluster(_never))
    shard_id = prepared.shards[0].shard_id
    (Path(prepared.folder.uri) / "ledger" / f"{shard_id}.parquet").unlink()
    (Path(prepared.folder.uri) / "shards" / f"{prepared.shards[1].shard_id}.parquet").unlink()
    again = prepare(prepared.job, cluster_has_gpus=lambda: False)
    with pytest.raises(Exception, match=f"ledger/{shard_id}.parquet is missing but its token shard exists"):
        _run(again, FakeCluster(_never))


def test_a_source_that_kills_its_actors_costs_itself_and_the_ledger_says_so(prepared):
    result, run_counts = _run(prepared, FakeCluster(_never, killers=frozenset({3}), cpus=1))
    assert (result.totals.ok, result.totals.failed) == (5, 1)
    assert result.totals.reasons == {"decoder_crashed": 1}
    rows = load_ledger(prepared.folder, prepared.shards[1].shard_id)
    assert [row["outcome"] for row in rows] == ["ok", "failed"]
    alone = "when processing it alone, in each of 2 attempts"
    assert rows[1]["detail"] == f"The tokenizer's process died {alone}."
    assert (run_counts.counts.items, run_counts.counts.clips) == (Part(planned=6, done=6), 5)


def test_one_actor_gets_its_next_shard_ahead(prepared):
    cluster = FakeCluster(_never, cpus=1)
    _run(prepared, cluster)
    assert cluster.ahead == [shard.shard_id for shard in prepared.shards[1:]]


def test_a_cluster_that_grows_and_shrinks_is_followed(prepared, monkeypatch):
    monkeypatch.setattr("bitmill.jobs.execution.actor_pool._LOOK_EVERY_S", 0.0)
    sizes: list[int] = []

    def fault(shard_id: str, attempt: int) -> Exception | None:
        # The cluster changes its size while the first shards are at work.
        cluster.cpus = {0: 6, 1: 6, 2: 2}.get(len(sizes), 1)
        sizes.append(len(cluster.held_cpus()))
        return None

    cluster = FakeCluster(fault, cpus=2)
    result, run_counts = _run(prepared, cluster)
    assert result.totals.ok == 6
    assert sizes[0] == 1
    assert max(sizes) == 3
    assert list(cluster.held_cpus().values()) in ([], [0])
    counts = run_counts.counts
    assert (counts.items, counts.shards, counts.clips) == (
        Part(planned=6, done=6),
        Part(planned=3, done=3),
        6,
    )


def test_an_actor_that_gives_no_sign_is_ended_and_its_shard_done_again(prepared, monkeypatch):
    monkeypatch.setattr("bitmill.jobs.execution.actor_pool.QUIET_S", 0.05)
    job = prepared.job.model_copy(
        update={"limits": prepared.job.limits.model_copy(update={"item_timeout_s": 0.01})}
    )
    patient = PreparedJob(**{**prepared.__dict__, "job": job})

    class Hanging(FakeCluster):
        def events(self, works: list[Work], timeout_s: float):
            yield from super().events([work for work in works if work.assignment.actor not in self.mute()], 0)

        def mute(self) -> set[int]:
            return set() if self.removed else {0}

    cluster = Hanging(_never)
    result, _ = _run(patient, cluster)
    assert cluster.removed == [0]
    assert result.totals.ok == 6


@pytest.mark.parametrize("late", [False, True])
def test_a_stopped_run_lets_shards_at_work_finish(prepared, late):
    stop = StopRequest()
    cluster = FakeCluster(lambda *_: stop.receive() if not stop.asked else None, cpus=1)
    cluster.answers_late = late
    with pytest.raises(InterruptedJobError, match=r"committed shards stay\. Run the same command again"):
        _run(prepared, cluster, stop)
    assert committed_shards(prepared.folder) >= {prepared.shards[0].shard_id}
    assert require_card(prepared.folder).totals is None
    again = prepare(prepared.job, cluster_has_gpus=lambda: False)
    assert 0 < len(again.remaining) < 3
    assert _run(again, FakeCluster(_never))[0].totals.ok == 6


def test_after_the_grace_period_shards_at_work_are_abandoned_whole(prepared):
    compute = prepared.job.compute.model_copy(update={"grace_s": 0.0})
    hasty = PreparedJob(**{**prepared.__dict__, "job": prepared.job.model_copy(update={"compute": compute})})
    stop = StopRequest()
    with pytest.raises(InterruptedJobError, match="Interrupted"):
        _run(hasty, FakeCluster(lambda *_: stop.receive() if not stop.asked else None), stop)
    assert committed_shards(prepared.folder) == set()
