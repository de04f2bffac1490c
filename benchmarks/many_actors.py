"""What a shard costs the driver, by how many actors it has: at so many commits a second, with light actors.

    python -m benchmarks.many_actors [--actors 4 32 128 1000] [--rate N] [--sources N] [--json FILE]

The driver, its queue and Ray's streams are real; an actor only pauses, and a few processes answer as all of
them, or, with ``--processes``, one for each. A shard takes so long that the actors together commit ``--rate``
shards a second: the driver's CPU time for a shard may be compared between rows. ``late`` is from an actor's
report to the driver's record of it. A shard has ``--sources`` sources and reports ``--events`` times.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from ray.cluster_utils import Cluster as SimulatedCluster

from benchmarks import machine
from benchmarks.job_run import let_workers_import
from benchmarks.light_actors import LightActors
from benchmarks.light_host import REPORTED
from bitmill.jobs.cluster.connection.local_ray import no_unused_processes
from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.jobs.cluster.prometheus_metrics import RunMetrics
from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerFiles
from bitmill.jobs.execution.driver import run
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.scheduling.autoscaling import Capacity
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.reports.status_file import ActorCounts
from bitmill.schemas.requests.job import make_job

_PACKAGES = ["ray", "torch", "pyarrow"]


class _MeasuredError(Exception):
    """Enough shards were committed."""


class LightCluster(Cluster):
    """Claims to have room for all actors."""

    def __init__(self, address: str, actors: int, **light: Any) -> None:
        super().__init__(address)
        self._num = actors
        self._light = light

    def capacity(self) -> Capacity:
        """Of a cluster with two CPUs for each actor."""
        super().capacity()
        return Capacity(cpus=2 * self._num, gpus=0, object_store_bytes=self._num << 30)

    def start_actors(self, files: TokenizerFiles, settings: ActorSettings, num_gpus: float) -> LightActors:
        """See Cluster."""
        self._actors = LightActors(files, settings, num_gpus, **self._light)
        return self._actors


class _Clock(RunCounts):
    """Counts ``wanted`` commits once all actors are at work, each actor's second shard the first of them."""

    def __init__(self, num_shards: int, actors: int, wanted: int) -> None:
        super().__init__(num_sources=num_shards, num_shards=num_shards, num_committed=0)
        self._actors = actors
        self._wanted = wanted
        self.began: tuple[float, float] | None = None
        self.ended = (0.0, 0.0)
        self.lateness_s: list[float] = []

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        super().refresh(note, actors)
        settled = actors is not None and actors.at_work >= self._actors
        if self.began is None and settled and self._num_committed >= min(self._actors, self._wanted):
            self.began = time.perf_counter(), time.process_time()

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        super().commit(shard_id, totals, {})
        if self.began is not None:
            self.lateness_s.append(time.time() - seconds[REPORTED])
            if len(self.lateness_s) == self._wanted:
                self.ended = time.perf_counter(), time.process_time()
                raise _MeasuredError


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of the measured shards of a run."""

    actors: int
    processes: int
    shards: int
    seconds: float
    cpu_s: float
    median_late_s: float
    most_late_s: float


def measure(folder: Path, actors: int, asked: argparse.Namespace) -> Cost:
    """Run a job with so many actors until enough shards are committed."""
    prepared = _prepared(folder, actors, asked)
    clock = _Clock(prepared.card.num_shards, actors, asked.shards)
    processes = min(actors, asked.processes)
    simulated = SimulatedCluster()
    try:
        with no_unused_processes():
            simulated.add_node(
                num_cpus=4,
                object_store_memory=200 << 20,
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
            )
        light = {"pause_s": actors / asked.rate, "events": asked.events, "processes": processes}
        with LightCluster(str(simulated.address), actors, **light) as cluster:
            metrics = RunMetrics(clock, job_name="benchmark", dataset=prepared.folder.uri)
            with suppress(_MeasuredError):
                run(prepared, cluster, metrics)
    finally:
        simulated.shutdown()
    if clock.began is None or not clock.ended[0]:
        raise ValueError(f"{actors} actors were not at work together for {asked.shards} shards")
    return Cost(
        actors=actors,
        processes=processes,
        shards=asked.shards,
        seconds=clock.ended[0] - clock.began[0],
        cpu_s=clock.ended[1] - clock.began[1],
        median_late_s=statistics.median(clock.lateness_s),
        most_late_s=max(clock.lateness_s),
    )


def _prepared(folder: Path, actors: int, asked: argparse.Namespace) -> PreparedJob:
    media = folder / "media"
    media.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "one.png")
    # Two rounds at the start and the end, when shards are not sent ahead, are not measured.
    for number in range((asked.shards + 3 * actors + min(actors, asked.shards)) * asked.sources):
        os.link(folder / "one.png", media / f"{number:07d}.png")
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": str(folder / "tokens"),
        "tokenizer": {"preset": "tiny"},
        "sharding": {"max_sources": asked.sources},
        "compute": {"device": "cpu", "actors": actors},
    }
    return prepare(make_job(document, origin="the benchmark's job"), cluster_has_gpus=lambda: False)


def tell(costs: list[Cost]) -> None:
    """Markdown."""
    print("\n| actors | processes | commits/s | driver's CPU a shard | late, median | most |")
    print("|---|---|---|---|---|---|")
    for cost in costs:
        late = f"{cost.median_late_s * 1e3:.0f} ms | {cost.most_late_s * 1e3:.0f} ms"
        rate = f"{cost.shards / cost.seconds:.1f}"
        cpu = f"{cost.cpu_s / cost.shards * 1e3:.1f} ms"
        print(f"| {cost.actors} | {cost.processes} | {rate} | {cpu} | {late} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_actors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--actors", type=int, nargs="+", default=[4, 32, 128, 1000], help="(default: 4 32 128 1000)")
    add("--processes", type=int, default=2, help="that answer as the actors (default: %(default)s)")
    add("--rate", type=float, default=20.0, help="commits a second (default: %(default)s)")
    add("--shards", type=int, default=200, help="that are measured (default: %(default)s)")
    add("--sources", type=int, default=4, help="of a shard (default: %(default)s)")
    add("--events", type=int, default=4, help="of a shard's progress (default: %(default)s)")
    add("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    let_workers_import()
    where = machine.describe(_PACKAGES)
    costs: list[Cost] = []
    for actors in asked.actors:
        with tempfile.TemporaryDirectory() as place:
            costs.append(measure(Path(place), actors, asked))
            tell(costs[-1:])
    if asked.json:
        told = {"machine": where, "rate": asked.rate, "runs": [vars(cost) for cost in costs]}
        asked.json.write_text(json.dumps(told, indent=2) + "\n")
    print(machine.sentence(where))
    tell(costs)


if __name__ == "__main__":
    main()
