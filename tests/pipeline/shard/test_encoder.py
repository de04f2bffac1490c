"""The time of a GPU is measured by its own clock, from the first kernel of a batch to its last."""

from typing import Any

import numpy as np
import torch

from bitmill.pipeline.shard.model_encoder import ModelEncoder


class Gpu:
    """A clock that goes on only while it computes."""

    def __init__(self) -> None:
        self.now_ms = 0.0


def _event_of(gpu: Gpu) -> type:
    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at_ms = gpu.now_ms

        def synchronize(self) -> None: ...

        def elapsed_time(self, later: "Event") -> float:
            return later.at_ms - self.at_ms

    return Event


class Tokenizer:
    """One that waits for its codes, as plugins may."""

    device = torch.device("cuda")

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def encode(self, clips: list[torch.Tensor]) -> list[torch.Tensor]:
        self._gpu.now_ms += 1500 * len(clips)
        return [torch.zeros(1, 2, 2, 3, dtype=torch.bool) for _ in clips]


def test_the_time_of_a_gpu_is_that_between_the_events_of_each_batch(monkeypatch):
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "Event", _event_of(gpu))
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: object())
    tokenizer: Any = Tokenizer(gpu)
    encoder = ModelEncoder(tokenizer)
    clip = np.zeros((1, 4, 4, 3), np.uint8)
    for num_clips in (2, 1):
        pending = encoder.begin([clip] * num_clips)
        assert len(pending.wait()) == num_clips
        assert pending.gpu_s == 1.5 * num_clips
        gpu.now_ms += 777


def test_on_a_cpu_none_is_measured():
    tokenizer: Any = Tokenizer(Gpu())
    tokenizer.device = torch.device("cpu")
    assert ModelEncoder(tokenizer).begin([np.zeros((1, 4, 4, 3), np.uint8)]).gpu_s == 0
