"""The driver's decisions, on a fake cluster that loses actors and shards to order."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.cluster.session import ActorLostError, Work
from jobs.driver import run
from jobs.prepare import PreparedJob, prepare
from jobs.progress import Progress
from pipeline.dataset_folder import committed_shards, require_card
from pipeline.shard.loop import tokenize_shard
from pipeline.storage import Folder
from schemas.errors import InfrastructureError, TooManyFailuresError
from schemas.outcomes import Reason
from tests.support.fakes import HashEncoder, make_item, make_job

Fault = Callable[[str, int], Exception | None]


class FakeCluster:
    """Runs shards in this process, one event a poll; ``fault`` may take a shard's attempt away."""

    def __init__(self, fault: Fault, *, cpus: int = 4, failing: frozenset[int] = frozenset()) -> None:
        self._fault = fault
        self._cpus = cpus
        self._failing = failing
        self.attempts: list[tuple[str, int]] = []
        self.num_actors = 0

    def count(self, name: str) -> int:
        return self._cpus if name == "CPU" else 0

    def start_actors(self, count: int, files: Any, settings: Any, num_cpus: int) -> None:
        self.num_actors, self._settings, self.actor_cpus = count, settings, num_cpus
        self._ready = list(range(count))

    def ready_actors(self) -> list[int]:
        ready, self._ready = self._ready, []
        return ready

    def await_actor(self, actor: int) -> None:
        self._ready.append(actor)

    def begin(self, shard: Any, actor: int) -> Work:
        self.attempts.append((shard.shard_id, actor))
        return Work(shard, actor, self._events(shard))

    def _events(self, shard: Any):
        numbers = range(shard.first_source_index, shard.first_source_index + len(shard.sources))
        items = [
            make_item(
                n, [] if n in self._failing else [2], reason=Reason.CORRUPT if n in self._failing else None
            )
            for n in numbers
        ]
        context = self._settings.context
        attempt = sum(shard_id == shard.shard_id for shard_id, _ in self.attempts)
        for event in tokenize_shard(shard, items, HashEncoder(), context, Folder(self._settings.output)):
            error = self._fault(shard.shard_id, attempt)
            if error is not None:
                raise error
            yield event

    def events(self, works: list[Work], timeout_s: float):
        for work in list(works):
            try:
                event = next(work.generator)
            except ActorLostError as error:
                event = error
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


def _run(prepared: PreparedJob, cluster: FakeCluster):
    console = Console(file=io.StringIO(), width=200)
    with Progress(console) as progress:
        return run(prepared, cluster, progress), progress  # type: ignore[arg-type]


def _never(shard_id: str, attempt: int) -> None:
    return None


def test_every_shard_is_committed_and_the_card_sums_up(prepared):
    cluster = FakeCluster(_never)
    result, _ = _run(prepared, cluster)
    assert committed_shards(prepared.folder) == {shard.shard_id for shard in prepared.shards}
    assert (result.totals.ok, result.totals.clips) == (6, 6)
    assert require_card(prepared.folder).totals == result.totals
    assert cluster.num_actors == 2
    assert not (Path(prepared.folder.uri) / ".staging").exists()


def test_a_lost_actors_shard_is_done_again_and_counted_once(prepared):
    lost = prepared.shards[1].shard_id

    def fault(shard_id: str, attempt: int) -> Exception | None:
        return ActorLostError("died") if shard_id == lost and attempt < 3 else None

    cluster = FakeCluster(fault)
    result, progress = _run(prepared, cluster)
    assert [shard_id for shard_id, _ in cluster.attempts].count(lost) == 3
    assert result.totals.ok == 6
    assert progress.line().startswith("6/6 items · 6 clips")


def test_a_shard_that_always_loses_its_actor_ends_the_job(prepared):
    lost = prepared.shards[0].shard_id
    cluster = FakeCluster(lambda shard_id, _: ActorLostError("died") if shard_id == lost else None)
    with pytest.raises(InfrastructureError, match=f"Shard {lost} lost its actor 3 times"):
        _run(prepared, cluster)
    assert lost not in committed_shards(prepared.folder)
    assert require_card(prepared.folder).totals is None


def test_failures_of_a_repeated_shard_are_not_counted_twice(prepared):
    first = prepared.shards[0].shard_id
    job = prepared.job.model_copy(update={"max_failures": 0.2})
    once = PreparedJob(**{**prepared.__dict__, "job": job})

    def fault(shard_id: str, attempt: int) -> Exception | None:
        return ActorLostError("died") if shard_id == first and attempt == 1 else None

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
                lambda shard_id, _: ActorLostError("died") if shard_id == lost else None,
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
        return ActorLostError("died") if shard_id == first and committed else None

    cluster = FakeCluster(fault)
    result, _ = _run(prepared, cluster)
    assert [shard_id for shard_id, _ in cluster.attempts].count(first) == 1
    assert (result.totals.items, result.totals.clips) == (6, 6)


@pytest.mark.parametrize(("cpus", "actors", "actor_cpus"), [(1, 1, 0), (2, 1, 1), (4, 2, 1), (64, 3, 1)])
def test_decoding_always_has_a_cpu(prepared, cpus, actors, actor_cpus):
    cluster = FakeCluster(_never, cpus=cpus)
    _run(prepared, cluster)
    assert (cluster.num_actors, cluster.actor_cpus) == (actors, actor_cpus)


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
    with pytest.raises(
        Exception, match=f"ledger/{shard_id}.parquet is missing though its token shard is there"
    ):
        _run(again, FakeCluster(_never))
