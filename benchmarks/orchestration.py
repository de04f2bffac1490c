"""What a shard costs beside its work: a job on simulated nodes, whose model only waits.

    python -m benchmarks.orchestration [--actors 1 2 4 8] [--shards N] [--seconds S] [--json FILE]

Each shard is one small picture, and its encoding a pause of S seconds, which takes no CPU: one machine holds
as many actors as it holds processes, on nodes of a simulated cluster. For each number of actors: an actor's
time for a shard beside the pause, and the driver's CPU time for a shard. One driver serves all actors, so its
CPU time bounds how many shards a second a cluster commits, however many actors it has; the last line tells
what that bound means for 1,000 of them.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ray.cluster_utils import Cluster as SimulatedCluster

from benchmarks import machine
from benchmarks.job_run import FreeEncoder, let_workers_import
from bitmill.jobs.cluster.connection.local_ray import no_unused_processes
from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.jobs.cluster.tokenizing.actor import TokenizerActor, TokenizerFiles
from bitmill.jobs.execution.driver import run
from bitmill.jobs.preparation.prepare import prepare
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.pipeline.shard.encoder import ClipEncoder
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.reports.status_file import ActorCounts
from bitmill.schemas.requests.job import make_job

_PACKAGES = ["ray", "torch", "pyarrow"]
_PAUSE = "BITMILL_BENCHMARK_PAUSE_S"
_CPUS_PER_NODE = 4
_LONGEST_S = 600.0

_LEAN: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Nodes without processes that would take CPU beside what is measured."""


class WaitingActor(TokenizerActor):
    """All that the real one does, but for the model, which only waits."""

    def load(self, files: TokenizerFiles) -> ClipEncoder:
        """The stand-in; its pause comes by the environment, as actors are processes of their own."""
        config = TokenizerConfig.model_validate_json(files.files["config.json"])
        return FreeEncoder(config, seconds_per_frame=float(os.environ[_PAUSE]))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a job with so many actors, from when all are ready to the last commit."""

    actors: int
    shards: int
    seconds: float
    driver_cpu_s: float

    def overhead_s(self, pause_s: float) -> float:
        """Of an actor's time a shard, beside the pause."""
        return self.seconds * self.actors / self.shards - pause_s

    @property
    def driver_cpu_s_per_shard(self) -> float:
        return self.driver_cpu_s / self.shards


class _Clock(RunCounts):
    """Counts shards from the first commit after all actors are there."""

    def __init__(self, num_shards: int, actors: int) -> None:
        super().__init__(num_sources=num_shards, num_shards=num_shards, num_committed=0)
        self._actors = actors
        self.began: tuple[float, float] | None = None
        self.ended = (0.0, 0.0)
        self.counted = 0

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None:
        super().refresh(note, actors)
        if self.began is None and actors is not None and actors.at_work >= self._actors:
            self.began = time.perf_counter(), time.process_time()

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        super().commit(shard_id, totals, seconds)
        if self.began is not None:
            self.counted += 1
            self.ended = time.perf_counter(), time.process_time()


def measure(folder: Path, actors: int, num_shards: int) -> Cost:
    """Run a job over the folder's pictures. Raises ValueError where actors never were all at work."""
    document = {
        "version": 1,
        "source": {"paths": [str(folder / "media")]},
        "output": tempfile.mkdtemp(dir=folder),
        "tokenizer": {"preset": "tiny"},
        "sharding": {"max_sources": 1},
        "compute": {"device": "cpu", "actors": actors, "decoders": 1},
    }
    prepared = prepare(make_job(document, origin="the benchmark's job"), cluster_has_gpus=lambda: False)
    clock = _Clock(num_shards, actors)
    nodes = -(-actors * 2 // _CPUS_PER_NODE)
    simulated = SimulatedCluster()
    try:
        for _ in range(nodes):
            with no_unused_processes():
                simulated.add_node(num_cpus=_CPUS_PER_NODE, object_store_memory=100 << 20, **_LEAN)
        with Cluster(simulated.address, actor_class=WaitingActor) as cluster:
            run(prepared, cluster, clock)
    finally:
        simulated.shutdown()
    if clock.began is None or not clock.counted:
        raise ValueError(f"{actors} actors were never at work together; give more shards")
    return Cost(
        actors=actors,
        shards=clock.counted,
        seconds=clock.ended[0] - clock.began[0],
        driver_cpu_s=clock.ended[1] - clock.began[1],
    )


def make_pictures(folder: Path, count: int) -> None:
    """Small ones, each a shard."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.png")


def tell(costs: list[Cost], pause_s: float) -> None:
    """Markdown."""
    print(f"\n| actors | shards | a shard's time beside its {pause_s:g} s | driver's CPU a shard |")
    print("|---|---|---|---|")
    for cost in costs:
        overhead = f"{cost.overhead_s(pause_s) * 1e3:.0f} ms"
        print(f"| {cost.actors} | {cost.shards} | {overhead} | {cost.driver_cpu_s_per_shard * 1e3:.1f} ms |")
    dearest_s = max(cost.driver_cpu_s_per_shard for cost in costs)
    print(f"\nOne driver commits at most {1 / dearest_s:.0f} shards a second: 1,000 actors are kept", end=" ")
    print(f"at work where a shard takes {1000 * dearest_s:.0f} s or more.")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.orchestration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--actors", type=int, nargs="+", default=[1, 2, 4], help="of each run (default: 1 2 4)")
    add("--shards", type=int, default=20, help="for each actor (default: %(default)s)")
    add("--seconds", type=float, default=0.5, help="that a shard's encoding waits (default: %(default)s)")
    add("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    os.environ[_PAUSE] = str(asked.seconds)
    let_workers_import()
    where = machine.describe(_PACKAGES)
    costs: list[Cost] = []
    for actors in asked.actors:
        with tempfile.TemporaryDirectory() as place:
            make_pictures(Path(place) / "media", asked.shards * actors)
            costs.append(measure(Path(place), actors, asked.shards * actors))
    told: dict[str, Any] = {"machine": where, "pause_s": asked.seconds}
    told["runs"] = [{**vars(cost), "overhead_s": cost.overhead_s(asked.seconds)} for cost in costs]
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=2) + "\n")
    print(machine.sentence(where))
    tell(costs, asked.seconds)


if __name__ == "__main__":
    main()
