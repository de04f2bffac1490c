"""Times a job's tokenizer on this machine, and measures the memory that a batch takes."""

import ctypes
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.numerics import set_numerics
from bitmill.jobs.preparation.models.loaded_tokenizer import LoadedTokenizer
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.reports.estimate_report import BatchMemory
from bitmill.schemas.requests.job import JobSpec

_TIMED_S = 2.0
_LONGEST_BATCH_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one tokenizer does on this machine."""

    device: str
    frames_per_s: float
    batch: BatchMemory


def measure_tokenizer(tokenizer: LoadedTokenizer, job: JobSpec, size: SizePx) -> Timing:
    """Encode batches of noise of this frame size for some seconds, on a GPU if the job may use one."""
    on_gpu = torch.cuda.is_available() and job.compute.device != "cpu"
    if not on_gpu:
        torch.set_num_threads(job.compute.threads)
    model = load_files(tokenizer.files)
    set_numerics(model, job.compute.dtype, "cuda" if on_gpu else "cpu")
    encoder, clip_frames = ModelEncoder(model), job.sampling.num_clip_frames
    clip_THWC = np.random.default_rng(0).integers(0, 256, (clip_frames, *size, 3), np.uint8)
    memory = _Peak(on_gpu=on_gpu)
    # The first pass is a warm-up; the second decides whether a whole batch is affordable.
    encoder.encode([clip_THWC])
    started = time.perf_counter()
    encoder.encode([clip_THWC])
    clip_s = time.perf_counter() - started
    batch = max(1, job.compute.batch_frames // clip_frames)
    clips = [clip_THWC] * (batch if clip_s * batch < _LONGEST_BATCH_S else 1)
    num_frames = 0
    started = time.perf_counter()
    while not num_frames or time.perf_counter() - started < _TIMED_S:
        encoder.encode(clips)
        num_frames += len(clips) * clip_frames
    rate = num_frames / (time.perf_counter() - started)
    threads = job.compute.threads
    device = torch.cuda.get_device_name() if on_gpu else f"this machine's CPU, {threads} thread(s)"
    return Timing(
        device=f"{device}, {job.compute.dtype}",
        frames_per_s=rate,
        batch=BatchMemory(
            height_px=size[0],
            width_px=size[1],
            frames=len(clips) * clip_frames,
            memory_bytes=memory.measured(),
        ),
    )


class _Peak:
    """The peak of memory since it was made."""

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._before: int | None = None
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            self._before = _peak_of_process(anew=True)

    def measured(self) -> int | None:
        """Returns the bytes allocated on the GPU at most, or by which this process grew at most."""
        if self._on_gpu:
            return torch.cuda.max_memory_allocated()
        peak = None if self._before is None else _peak_of_process(anew=False)
        return None if peak is None or self._before is None else max(0, peak - self._before)


def _peak_of_process(*, anew: bool) -> int | None:
    """Returns the most bytes that were resident, counted anew from now if asked; None unless on Linux."""
    try:
        if anew:
            _give_free_heap_back()
            # Linux counts the peak from the start of the process until it is told to forget it.
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024


def _give_free_heap_back() -> None:
    # What planning has freed would serve the batch, which then seems to take less. Only glibc can.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
