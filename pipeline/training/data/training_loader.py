"""Batches of training clips, decoded on the way from the sources that ``tokenize`` takes.

Sample k of a run is a pure function of (seed, k, the list of sources), as are its replacements where a source
fails. So neither ranks, workers, prefetching nor the step at which reading starts change a sample, and there
is no state to save. One case is apart: a source whose decoder dies or hangs is left out from then on, so that
a run taken up again may still meet it where the first one no longer did.
"""

import math
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch

from bitmill.pipeline.sources.listing import is_image_name
from bitmill.pipeline.training.data.assemble_batch import Assembly
from bitmill.pipeline.training.data.make_sample import ClipSettings
from bitmill.pipeline.training.data.sample_schedule import place_of_batch
from bitmill.pipeline.training.data.source_sampler import SampleFailure, SourceSampler
from bitmill.pipeline.training.data.worker_pool import OwnProcess, ProcessPool, WorkerPool
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training_data import DataSpec

__all__ = ["Batch", "SampleFailure", "TrainingData"]

_SAMPLES_AHEAD = 16
"""Samples a worker, beyond the batch in use, that are under way or ready."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This rank's samples of one step."""

    step: int
    clips_BTHWC: torch.Tensor
    """uint8 RGB; T is the model's, or 1 in a batch of images."""
    failures: tuple[SampleFailure, ...]
    """Sources that gave no clip here; other draws took their place."""


class TrainingData:
    """Endless batches; a context manager that ends its decoding processes, as collecting it does.

    Each source comes once an epoch, a long video no more often than a short one or an image: a manifest that
    names spans of it gives it more weight. Sources are images by their names' suffix, else videos.
    """

    def __init__(
        self,
        sources: Sequence[PlannedSource],
        spec: DataSpec,
        *,
        size_px: int,
        num_frames: int,
        seed: int,
        global_batch: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """``global_batch`` clips a step over all ranks, of ``num_frames`` squares of ``size_px``.

        Raises UsageError where the sources do not hold what ``spec`` asks for, or ranks do not divide the
        batch.
        """
        if global_batch % world_size:
            raise UsageError(f"global_batch {global_batch} is not divisible by {world_size} processes.")
        self._spec, self._size_px, self._seed = spec, size_px, seed
        self._rank, self._batch, self._global_batch = rank, global_batch // world_size, global_batch
        self._mixed = num_frames > 1
        self._images, self._videos = _samplers(sources, spec, seed, num_frames)
        settings = ClipSettings(spec=spec, size_px=size_px, num_frames=num_frames)
        pool: WorkerPool = ProcessPool(settings, spec.workers) if spec.workers else OwnProcess(settings)
        self._pool = pool
        self.close = weakref.finalize(self, pool.close)
        """Ends the decoding processes; iterators are of no more use."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def batches(self, first_step: int = 0) -> Generator[Batch]:
        """Batches of steps ``first_step``, ``first_step`` + 1, … without end; some are made ahead.

        Raises TooManyFailuresError where so many sources fail that one sample finds none;
        InfrastructureError where decoding processes cannot be started.
        """
        ahead: deque[Assembly] = deque()
        step = first_step
        try:
            while True:
                if not self.close.alive:
                    raise ValueError("this TrainingData is closed")
                if not ahead:
                    ahead.append(self._assembly(step))
                ahead[0].finish()
                assembly = ahead.popleft()
                for other in ahead:
                    other.collect()
                while len(ahead) < self._depth():
                    ahead.append(self._assembly(step + 1 + len(ahead)))
                clips = torch.from_numpy(assembly.clips_BTHWC)
                yield Batch(step=step, clips_BTHWC=clips, failures=tuple(assembly.failures))
                step += 1
        finally:
            for assembly in ahead:
                assembly.cancel()

    def _depth(self) -> int:
        """Batches made ahead of the one in use."""
        return math.ceil(_SAMPLES_AHEAD * self._spec.workers / self._batch)

    def _assembly(self, step: int) -> Assembly:
        position, sampler = step, self._videos
        if self._mixed:
            place = place_of_batch(self._seed, step, self._spec.image_share)
            position, sampler = place.position, self._images if place.is_image else self._videos
        first = position * self._global_batch + self._rank * self._batch
        return Assembly(
            sampler,
            self._pool,
            range(first, first + self._batch),
            size_px=self._size_px,
            item_timeout_s=self._spec.item_timeout_s,
        )


def _samplers(
    sources: Sequence[PlannedSource], spec: DataSpec, seed: int, num_frames: int
) -> tuple[SourceSampler, SourceSampler]:
    """(images, videos), or all sources twice where each gives one frame."""
    if not sources:
        raise UsageError("There are no sources to train from.")
    if num_frames == 1:
        every = SourceSampler(sources, seed=seed, num_frames=1)
        return every, every
    images = [source for source in sources if is_image_name(source.uri)]
    videos = [source for source in sources if not is_image_name(source.uri)]
    if not videos and spec.image_share < 1:
        raise UsageError(
            f"The model takes clips of {num_frames} frames, but no source is a video by its name; give "
            "videos, or set data.image_share to 1."
        )
    if not images and spec.image_share > 0:
        raise UsageError("data.image_share is above 0, but no source is an image by its name.")
    return SourceSampler(images, seed=seed, num_frames=1), SourceSampler(
        videos, seed=seed, num_frames=num_frames
    )
