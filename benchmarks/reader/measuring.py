"""What is measured of an opened contender: that its tokens are right, its rate, its memory."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.reader.contender import Contender
from benchmarks.reader.corpus import batch_marks, corpus_marks, open_corpus
from benchmarks.reader.mixing import mixing

MODES = ("sequential", "shuffled", "clips", "workers")
"""Epochs in the stored order and in random ones; single clips by random numbers; random epochs through two
DataLoader workers."""

Epoch = Callable[[int], Iterator[torch.Tensor]]
"""An iterator over the batches of epoch n."""

_CHECKED_CLIPS = 64
_RESET_PEAK = "5"


class WrongTokensError(Exception):
    """A contender did not give back what it was given."""


def epoch_of(contender: Contender, mode: str, num_clips: int) -> Epoch:
    """How a mode reads an epoch. In the mode ``clips`` it has no end, and each batch is one clip."""
    if mode == "workers":
        return lambda epoch: contender.worker_batches(epoch=epoch)
    if mode == "clips":
        return lambda epoch: (contender.clip(number)[None] for number in _numbers(num_clips, epoch))
    return lambda epoch: contender.batches(shuffled=mode == "shuffled", epoch=epoch)


def _numbers(num_clips: int, epoch: int) -> Iterator[int]:
    generator = np.random.default_rng(epoch)
    while True:
        yield from generator.integers(0, num_clips, 1024).tolist()


def check(contender: Contender, mode: str, corpus: Path) -> dict[str, float]:
    """Raise WrongTokensError unless a mode gives each clip once, as stored; in order, or in none.

    Of a shuffled epoch, gives the figures of how well it mixes.
    """
    expected = corpus_marks(open_corpus(corpus))
    if mode == "clips":
        numbers = list(itertools.islice(_numbers(len(expected), 0), _CHECKED_CLIPS))
        found = np.concatenate([batch_marks(contender.clip(number)[None]) for number in numbers])
        if not np.array_equal(found, expected[numbers]):
            raise WrongTokensError("single clips are not those that were stored")
        return {}
    epoch = epoch_of(contender, mode, len(expected))
    batches = [batch_marks(batch) for batch in epoch(0)]
    found = np.concatenate(batches)
    if len(found) != len(expected) or not np.array_equal(np.sort(found), np.sort(expected)):
        missing = len(np.setdiff1d(expected, found))
        raise WrongTokensError(f"{mode}: {len(found)} of {len(expected)} clips came, {missing} never did")
    if np.array_equal(found, expected) != (mode == "sequential"):
        raise WrongTokensError(f"{mode}: the order is not what was asked for")
    if mode == "sequential":
        return {}
    by_mark = np.argsort(expected)
    return mixing([by_mark[np.searchsorted(expected, batch, sorter=by_mark)] for batch in batches])


def rate(epoch: Epoch, first_epoch: int, seconds: float) -> tuple[float, float]:
    """Tokens a second over at least ``seconds``, epoch after epoch; and seconds to the first batch.

    The clock starts when the first batch is there, which is not counted: what an epoch costs to begin is told
    apart from what it gives.
    """
    opened = time.perf_counter()
    batches = epoch(first_epoch)
    next(batches)
    began = time.perf_counter()
    num_tokens = 0
    for number in itertools.count(first_epoch + 1):
        for batch in batches:
            num_tokens += batch.numel()
            spent = time.perf_counter() - began
            if spent >= seconds:
                return num_tokens / spent, began - opened
        batches = epoch(number)
    raise AssertionError("epochs do not end")


def whole_rate(open_contender: Callable[[], Contender], mode: str, num_clips: int, max_clips: int) -> float:
    """Tokens a second of one epoch (of ``max_clips`` single clips), the opening counted."""
    began = time.perf_counter()
    contender = open_contender()
    batches = epoch_of(contender, mode, num_clips)(0)
    if mode == "clips":
        batches = itertools.islice(batches, max_clips)
    num_tokens = sum(batch.numel() for batch in batches)
    return num_tokens / (time.perf_counter() - began)


def memory_growth(open_contender: Callable[[], Contender], num_clips: int, seconds: float) -> dict[str, int]:
    """Bytes by which a shuffled epoch, or its first ``seconds``, raised this process's memory at its peak.

    ``peak`` counts pages of mapped files that were touched; ``private`` counts the process's own alone, seen
    at every batch.
    """
    peak_before, private_before = _reset_peak(), _status_bytes("RssAnon")
    private = private_before
    began = time.perf_counter()
    for batch in epoch_of(open_contender(), "shuffled", num_clips)(0):
        private = max(private, _status_bytes("RssAnon"))
        del batch
        if time.perf_counter() - began > seconds:
            break
    return {"peak": _status_bytes("VmHWM") - peak_before, "private": private - private_before}


def _reset_peak() -> int:
    """Let the kernel count the peak anew, from what is resident now."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)
