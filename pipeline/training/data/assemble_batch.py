"""Assembles one batch: submits tasks to workers, collects clips, replaces failed samples."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

import numpy as np

from bitmill.pipeline.sources.listing import is_image_name
from bitmill.pipeline.training.data.decode_worker import DecoderLostError, Made
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.pipeline.training.data.make_sample import FailedTask
from bitmill.pipeline.training.data.source_sampler import Pick, SampleFailure, SourceSampler
from bitmill.pipeline.training.data.worker_pool import WorkerPool
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.outcomes import Reason

_GROUP = 8
"""Samples per order: few enough that a lost worker costs little, enough to amortize messages."""
_GROUP_PATIENCE = 2.0
"""A group's deadline in multiples of a sample's; a group that exceeds it is retried sample by sample."""
_PATIENCE = {Reason.DECODER_CRASHED: 3, Reason.DECODE_TIMEOUT: 2}
"""Lost workers after which a sample's source counts as bad; another process may exhaust memory too."""
_PLACES = 16
"""Parts of a video's time that are distributed over workers."""


@dataclass(frozen=True)
class _Sample:
    slot: int
    pick: Pick
    losses: int = 0


class Assembly:
    """Assembles clips [B, T, H, W, 3] of consecutive samples."""

    def __init__(
        self,
        sampler: SourceSampler,
        pool: WorkerPool,
        samples: range,
        *,
        size_px: SizePx,
        item_timeout_s: float,
    ) -> None:
        self._sampler, self._pool, self._timeout_s = sampler, pool, item_timeout_s
        self._size_px = size_px
        self.clips_BTHWC = np.empty((len(samples), sampler.num_frames, *size_px, 3), np.uint8)
        self.lengths_B = np.full(len(samples), sampler.num_frames)
        """Frames of each clip; those after them repeat the last one."""
        self.failures: list[SampleFailure] = []
        self._running: dict[Future[Made], tuple[_Sample, ...]] = {}
        drawn = [_Sample(slot, self._pick(index)) for slot, index in enumerate(samples)]
        for worker, group in _grouped(drawn, pool.num_workers):
            self._submit(worker, group, _GROUP_PATIENCE * item_timeout_s)

    def finish(self) -> None:
        """Wait for all clips. Raises what ``collect`` raises."""
        while self._running:
            wait(self._running, return_when=FIRST_COMPLETED)
            self.collect()

    def collect(self) -> None:
        """Store finished clips and resubmit failed samples, without waiting.

        Raises TooManyFailuresError, InfrastructureError.
        """
        for future in [future for future in self._running if future.done()]:
            samples = self._running.pop(future)
            try:
                made = future.result()
            except DecoderLostError as loss:
                self._lost(samples, loss)
            else:
                for sample, result in zip(samples, made, strict=True):
                    if isinstance(result, FailedTask):
                        self._replace(sample, result)
                    else:
                        self._store(sample.slot, result)

    def cancel(self) -> None:
        """Cancel tasks that have not started."""
        for future in self._running:
            future.cancel()

    def _pick(self, sample_index: int, attempt: int = 0) -> Pick:
        return self._sampler.pick(sample_index, attempt, size_px=self._size_px)

    def _store(self, slot: int, clip_THWC: Frames) -> None:
        length = self.lengths_B[slot] = len(clip_THWC)
        self.clips_BTHWC[slot, :length] = clip_THWC
        self.clips_BTHWC[slot, length:] = clip_THWC[-1]

    def _submit(self, worker: int, samples: Sequence[_Sample], deadline_s: float) -> None:
        tasks = [sample.pick.task for sample in samples]
        self._running[self._pool.submit(worker, tasks, deadline_s=deadline_s)] = tuple(samples)

    def _again(self, sample: _Sample) -> None:
        self._submit(_worker_of(sample.pick, self._pool.num_workers), [sample], self._timeout_s)

    def _lost(self, samples: tuple[_Sample, ...], loss: DecoderLostError) -> None:
        """Retry each sample separately, so that only the one that kills the worker, if any, is dropped."""
        for sample in samples:
            losses, pick = sample.losses + 1, sample.pick
            if losses < _PATIENCE[loss.reason] or len(samples) > 1:
                # Another batch may have marked the source as bad by now.
                usable = self._pick(pick.sample_index, pick.attempt)
                self._again(_Sample(sample.slot, usable, losses if usable == pick else 0))
            else:
                self._replace(sample, FailedTask(reason=loss.reason, detail=loss.detail, lasting=True))

    def _replace(self, sample: _Sample, failed: FailedTask) -> None:
        pick = sample.pick
        self.failures.append(self._sampler.note(pick, failed.reason, failed.detail, lasting=failed.lasting))
        self._again(_Sample(sample.slot, self._pick(pick.sample_index, pick.attempt + 1)))


def _grouped(samples: Iterable[_Sample], num_workers: int) -> Iterator[tuple[int, list[_Sample]]]:
    by_worker: dict[int, list[_Sample]] = {}
    for sample in samples:
        by_worker.setdefault(_worker_of(sample.pick, num_workers), []).append(sample)
    for worker, its in by_worker.items():
        for start in range(0, len(its), _GROUP):
            yield worker, its[start : start + _GROUP]


def _worker_of(pick: Pick, num_workers: int) -> int:
    """Return the worker: samples that share frames use one worker's cache; long videos are split by time."""
    part = 0 if is_image_name(pick.task.source.uri) else int(pick.task.draw.time * _PLACES)
    return (pick.source_index + part) % num_workers
