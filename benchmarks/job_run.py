"""A real job, run by the driver on a local Ray, and what it took; its model may be replaced by a stand-in."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.jobs.cluster.tokenizing.actor import TokenizerActor, TokenizerFiles
from bitmill.jobs.execution.driver import run
from bitmill.jobs.preparation.prepare import PreparedJob
from bitmill.pipeline.shard.encoder import ClipEncoder, ReadyCodes
from bitmill.pipeline.shard.progress import ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.reports.status_file import GPU, ActorCounts


class FreeEncoder:
    """Bits of zeros, or of a pause of ``seconds_per_frame`` and zeros."""

    def __init__(self, config: TokenizerConfig, seconds_per_frame: float = 0.0) -> None:
        self._grid = config.image_size_px // config.patch_size_px
        self._bits = config.bits_per_token
        self._seconds = seconds_per_frame

    def begin(self, clips: Any) -> ReadyCodes:
        """See ClipEncoder."""
        if self._seconds:
            time.sleep(self._seconds * sum(len(clip) for clip in clips))
        shape = (self._grid, self._grid, self._bits)
        return ReadyCodes([np.zeros((len(clip), *shape), np.bool_) for clip in clips])


class FreeActor(TokenizerActor):
    """All that the real one does, but for the model."""

    def load(self, files: TokenizerFiles) -> ClipEncoder:
        """The stand-in, of the same geometry."""
        return FreeEncoder(TokenizerConfig.model_validate_json(files.files["config.json"]))


@dataclass(frozen=True, kw_only=True)
class JobFigures:
    """Of one run; ``steady`` is from the end of the first batch to the last commit."""

    start_s: float
    """From Ray's start to the end of the first batch."""
    steady_s: float
    steady_frames: int
    steady_cpu_s: float
    """Of all processes of the run: driver, actors, decoders, Ray's own."""
    frames: int
    shards: int
    seconds: dict[str, float]
    """By stage, over the whole run."""
    steady_seconds: dict[str, float]
    """By stage, without what came up to the end of the first batch."""

    @property
    def frames_per_s(self) -> float:
        return self.steady_frames / self.steady_s

    @property
    def frames_per_cpu_s(self) -> float:
        return self.steady_frames / self.steady_cpu_s

    @property
    def gpu_busy(self) -> float:
        """Share of the steady time in which the GPU of the only actor computed a batch."""
        return self.steady_seconds.get(GPU, 0.0) / self.steady_s

    @property
    def cpu_cores(self) -> float:
        """CPU cores in use, all processes of the run together."""
        return self.steady_cpu_s / self.steady_s


class _Clock:
    """An observer that notes when what happened."""

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None
        self.last = (0.0, 0.0)
        self.frames = self.frames_at_first = self.shards = 0
        self.seconds_at_first: Counter[str] = Counter()

    def begin(self, planned: int, earlier: Totals) -> None: ...

    def drop(self, shard_id: str) -> None: ...

    def refresh(self, note: str | None = None, actors: ActorCounts | None = None) -> None: ...

    def advance(self, event: ShardProgress) -> None:
        self.frames += event.frames
        if self.first is None:
            self.seconds_at_first.update(event.seconds)
        if event.frames and self.first is None:
            self.first, self.frames_at_first = (time.perf_counter(), tree_cpu_s()), event.frames

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:  # noqa: ARG002
        self.shards += 1
        self.last = time.perf_counter(), tree_cpu_s()


def let_workers_import() -> None:
    """Have Ray's workers find the actor classes of this folder; of a job's driver they get no paths."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def run_job(prepared: PreparedJob, actor_class: type[TokenizerActor] = TokenizerActor) -> JobFigures:
    """Run a prepared job to its end. Raises ValueError where nothing was encoded."""
    let_workers_import()
    clock = _Clock()
    began = time.perf_counter()
    with Cluster(None, actor_class=actor_class) as cluster:
        result = run(prepared, cluster, clock)
    if clock.first is None:
        raise ValueError("the job has encoded nothing")
    return JobFigures(
        start_s=clock.first[0] - began,
        steady_s=clock.last[0] - clock.first[0],
        steady_frames=clock.frames - clock.frames_at_first,
        steady_cpu_s=clock.last[1] - clock.first[1],
        frames=clock.frames,
        shards=clock.shards,
        seconds=result.seconds,
        steady_seconds={
            stage: spent - clock.seconds_at_first[stage] for stage, spent in result.seconds.items()
        },
    )


def tree_cpu_s() -> float:
    """CPU time that this process and all below it have taken, ended ones included."""
    ticks: dict[int, int] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        ticks[int(entry.name)] = sum(int(field) for field in fields[11:15])
    below = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        if not more:
            break
        below |= more
    return sum(ticks.get(pid, 0) for pid in below) / os.sysconf("SC_CLK_TCK")
