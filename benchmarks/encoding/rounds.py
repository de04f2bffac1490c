"""Seconds of several ways of doing one thing, taken in turn, so that the machine's noise meets all alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.repeated import summary

Way = Callable[[], Any]


def interleaved(ways: Mapping[str, Way], *, rounds: int, device: torch.device) -> dict[str, dict[str, Any]]:
    """Seconds of each way in each round, after one unmeasured call of each."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            _finish(device)
            start = time.perf_counter()
            way()
            _finish(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: summary(values) for name, values in seconds.items()}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
