"""One process of a group that trains together by ``torch.distributed``, for tests that spawn it."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.schemas.requests.training import TrainSpec

Batch = tuple[torch.Tensor, torch.Tensor]
"""Clips, uint8 [B, T, H, W, 3], and their lengths."""


def trained_measurements(document: dict[str, Any], batches: list[Batch]) -> list[dict[str, torch.Tensor]]:
    """Train a new tokenizer on the batches; return each step's measurements."""
    torch.set_num_threads(1)
    spec = TrainSpec.model_validate(document)
    tokenizer = start_tokenizer(spec.model, seed=0, start=None)
    training = TrainingStep(spec, tokenizer, copy.deepcopy(tokenizer), device=torch.device("cpu"))
    return [training.run(clips, step, lengths) for step, (clips, lengths) in enumerate(batches)]


def train_rank(
    rank: int, world_size: int, folder: Path, document: dict[str, Any], batches: list[Batch]
) -> None:
    """Train on this rank's share of each batch; writes the measurements to ``folder``."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size)
    share = [(clips.chunk(world_size)[rank], lengths.chunk(world_size)[rank]) for clips, lengths in batches]
    torch.save(trained_measurements(document, share), folder / f"{rank}.pt")
    dist.destroy_process_group()
