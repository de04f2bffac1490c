"""Multi-process training: Ray Train starts the workers, which train with DistributedDataParallel."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train as ray_train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch import nn

from bitmill.bsq_model.acceleration.freed_memory import keep_freed_memory
from bitmill.bsq_model.families import load_native, native_files
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.training_checkpoint import find_checkpoints
from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.training.run_training import Process, train
from bitmill.pipeline.training.run_writer import CHECKPOINTS_FOLDER
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BitmillError, InfrastructureError
from bitmill.schemas.requests.training import TrainSpec, run_id

_FRUITLESS_STARTS = 3
"""Consecutive losses of the worker group without a new checkpoint, after which training fails."""


@dataclass(frozen=True, kw_only=True)
class WorkerInput:
    """Input of every worker, sent once through the object store."""

    spec: TrainSpec
    sources: tuple[PlannedSource, ...]
    tokenizer_files: dict[str, bytes]
    perceptual: nn.Module | None


def train_on_cluster(
    spec: TrainSpec,
    sources: tuple[PlannedSource, ...],
    tokenizer: TrainableTokenizer,
    perceptual: nn.Module | None,
    address: str | None,
) -> None:
    """Train on ``compute.processes`` workers of a cluster, or of a local Ray if ``address`` is None.

    If a worker is lost, the group restarts from the last checkpoint, so ``spec.output`` must be a folder that
    every node sees. Raises a worker's error, or InfrastructureError if the group is lost repeatedly without
    progress.
    """
    with Cluster(address) as cluster:
        use_gpu = _use_gpu(spec, cluster)
        data = WorkerInput(
            spec=spec, sources=sources, tokenizer_files=native_files(tokenizer), perceptual=perceptual
        )
        reference = ray.put(data)
        checkpoints = Path(spec.output) / CHECKPOINTS_FOLDER
        fruitless, start = 0, 0
        while True:
            newest = find_checkpoints(checkpoints)[-1:]
            try:
                _trainer(spec, reference, start, use_gpu=use_gpu).fit()
                return
            except Exception as error:
                told = _told(error)
                fruitless = 0 if find_checkpoints(checkpoints)[-1:] != newest else fruitless + 1
                if not isinstance(told, InfrastructureError) or fruitless == _FRUITLESS_STARTS:
                    raise told from error
            start += 1


def _trainer(spec: TrainSpec, reference: Any, start: int, *, use_gpu: bool) -> TorchTrainer:
    """Returns a trainer for one worker group. Ray Train's restarts are off: they would repeat user errors."""
    return TorchTrainer(
        _work,
        train_loop_config={"input": [reference]},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=spec.compute.processes, use_gpu=use_gpu),
        run_config=RunConfig(
            name=f"{run_id(spec)}-{os.getpid()}-{start}",
            storage_path=str(Path(spec.output).absolute() / "ray"),
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """Train one rank of the group that Ray Train set up."""
    data: WorkerInput = ray.get(config["input"][0])
    context = ray_train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    use_gpu = torch.cuda.is_available() and data.spec.compute.device != "cpu"
    device = torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")
    if not use_gpu:
        torch.set_num_threads(data.spec.compute.threads or max(1, available_cpus() // world_size))
        keep_freed_memory()
    tokenizer = load_native(data.tokenizer_files)
    assert isinstance(tokenizer, TrainableTokenizer)
    train(
        data.spec,
        data.sources,
        tokenizer,
        Process(rank=rank, world_size=world_size, device=device),
        perceptual=data.perceptual.to(device) if data.perceptual is not None else None,
        on_progress=lambda _: None,
    )


def _use_gpu(spec: TrainSpec, cluster: Cluster) -> bool:
    if spec.compute.device != "auto":
        return spec.compute.device == "cuda"
    return cluster.count("GPU") >= spec.compute.processes


def _told(error: Exception) -> Exception:
    """Returns a worker's BitmillError, or an InfrastructureError that says in one sentence what failed."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, BitmillError):
            return cause
    first = str(next(iter(failures.values()), error)).strip().splitlines()
    return InfrastructureError(
        f"Training stopped: {first[-1] if first else type(error).__name__}. Run the same command again to "
        "resume from the last checkpoint."
    )
