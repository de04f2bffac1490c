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


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """A saved tokenizer's files as they travel to the actors."""

    config: bytes
    weights: bytes


class TokenizerActor:
    """Tokenizes one shard at a time; restarted by Ray, it starts over with nothing lost."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._encoder: ModelEncoder | None = None

    def ready(self) -> bool:
        """Answers once the process is up."""
        return True

    def tokenize(self, shard: PlannedShard, files: TokenizerFiles) -> Iterator[ShardProgress | ShardReport]:
        """Run one shard; streams progress, the report last.

        ``files`` come with each shard rather than once, so that a restarted actor needs nothing else.
        """
        settings = self._settings
        decode = DecodeSettings.of(settings.context.job, settings.context.size_px)
        if self._encoder is None:
            self._encoder = self._load(files)
        items = decoded_items(shard.sources, decode, window=settings.window)
        yield from tokenize_shard(shard, items, self._encoder, settings.context, Folder(settings.output))

    def _load(self, files: TokenizerFiles) -> ModelEncoder:
        compute = self._settings.context.job.compute
        if self._settings.device == "cpu":
            torch.set_num_threads(compute.threads)
        tokenizer = tokenizer_from_files(files.config, files.weights)
        tokenizer.to(device=self._settings.device, dtype=getattr(torch, compute.dtype))
        return ModelEncoder(tokenizer)
