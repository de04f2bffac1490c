"""The tokenizer actor: owns one accelerator (or a share of the CPUs) and runs shard loops on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from bsq_model import tokenizer_from_files
from jobs.cluster.decoding import decoded_items
from pipeline.encoding import ModelEncoder
from pipeline.fetch import DecodeSettings
from pipeline.shard.loop import ShardContext, ShardProgress, ShardReport, tokenize_shard
from pipeline.storage import Folder
from schemas.plan import PlannedShard


@dataclass(frozen=True, kw_only=True)
class ActorSettings:
    """What an actor needs beside the tokenizer's files."""

    context: ShardContext
    output: str
    device: Literal["cpu", "cuda"]
    window: int
    """Items under way in decoding tasks for this actor."""


class TokenizerActor:
    """Tokenizes one shard at a time; restarted by Ray, it starts over with nothing lost."""

    def __init__(self, config: bytes, weights: bytes, settings: ActorSettings) -> None:
        job = settings.context.job
        if settings.device == "cpu":
            torch.set_num_threads(job.compute.threads)
        self._settings = settings
        tokenizer = tokenizer_from_files(config, weights)
        tokenizer.to(device=settings.device, dtype=getattr(torch, job.compute.dtype))
        self._encoder = ModelEncoder(tokenizer)

    def tokenize(self, shard: PlannedShard) -> Iterator[ShardProgress | ShardReport]:
        """Run one shard; streams progress, the report last."""
        settings = self._settings
        job = settings.context.job
        decode = DecodeSettings(sampling=job.sampling, limits=job.limits, size_px=settings.context.size_px)
        items = decoded_items(shard.sources, decode, window=settings.window)
        yield from tokenize_shard(shard, items, self._encoder, settings.context, Folder(settings.output))
