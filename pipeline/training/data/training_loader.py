"""Loads batches of training clips, decoded during training from the same sources as ``tokenize``.

Sample k of a run is a pure function of (seed, k, the list of sources), and so are its replacements when a
source fails. So neither ranks, workers, prefetching nor the first step change a sample, and there is no state
to save. One exception: a source whose decoder dies or hangs is excluded from then on, but a resumed run may
try it again.
"""

import math
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from bitmill.pipeline.sources.listing import is_image_name
from bitmill.pipeline.training.data.assemble_batch import Assembly
from bitmill.pipeline.training.data.make_sample import ClipSettings
from bitmill.pipeline.training.data.sample_schedule import place_of_batch
from bitmill.pipeline.training.data.source_sampler import SampleFailure, SourceSampler
from bitmill.pipeline.training.data.worker_pool import OwnProcess, ProcessPool, WorkerPool
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.training_data import DataSpec

__all__ = ["Batch", "SampleFailure", "TrainingData"]

_SAMPLES_AHEAD = 16
"""Samples per worker that are prefetched beyond the current batch."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This rank's samples of one step."""

    step: int
    clips_BTHWC: torch.Tensor
    """uint8 RGB; T is the model's, or 1 in a batch of images."""
    lengths_B: torch.Tensor
    """int64: frames of each clip; those after them, of short videos, repeat its last one."""
    failures: tuple[SampleFailure, ...]
    """Sources that yielded no clip; other samples replaced them."""


class TrainingData(AbstractContextManager["TrainingData"]):
    """Yields endless batches; a context manager that ends its decoding processes, as garbage collection does.

    Each source occurs once per epoch, a long video as often as a short one or an image; to weight it more,
    list several spans of it in a manifest. A source is an image if its name's suffix says so, else a video.
    """

    def __init__(
        self,
        sources: Sequence[PlannedSource],
        spec: DataSpec,
        *,
        sizes: Sequence[SizePx],
        num_frames: int,
        least_frames: int | None = None,
        pixel_rule: Literal[1, 2] = 1,
        seed: int,
        global_batch: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Load ``global_batch`` clips per step over all ranks, of ``num_frames`` frames.

        The batches of each kind, clips or images, have the ``sizes`` in turn. Videos of ``least_frames`` or
        more count as clips, None being ``num_frames``. Raises UsageError if the sources lack the images or
        videos that ``spec`` requires, or the world size does not divide a batch.
        """
        self._image_batch = spec.image_batch or global_batch
        for name, count in (("global_batch", global_batch), ("data.image_batch", self._image_batch)):
            if count % world_size:
                raise UsageError(f"{name} {count} is not divisible by {world_size} processes.")
        self._spec, self._sizes, self._seed = spec, tuple(sizes), seed
        self._rank, self._world_size, self._global_batch = rank, world_size, global_batch
        self._mixed = num_frames > 1
        self._images, self._videos = _samplers(sources, spec, seed, num_frames)
        settings = ClipSettings(
            spec=spec,
            sizes=self._sizes,
            num_frames=num_frames,
            least_frames=least_frames or num_frames,
            pixel_rule=pixel_rule,
        )
        pool: WorkerPool = ProcessPool(settings, spec.workers) if spec.workers else OwnProcess(settings)
        self._pool = pool
        self.close = weakref.finalize(self, pool.close)
        """Ends the decoding processes; iterators cannot be used afterwards."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def batches(self, first_step: int = 0) -> Generator[Batch]:
        """Yield batches of steps ``first_step``, ``first_step`` + 1, … endlessly, with prefetching.

        Raises TooManyFailuresError if all sources drawn for one sample fail, InfrastructureError if decoding
        processes cannot be started.
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
                lengths = torch.from_numpy(assembly.lengths_B)
                yield Batch(
                    step=step, clips_BTHWC=clips, lengths_B=lengths, failures=tuple(assembly.failures)
                )
                step += 1
        finally:
            for assembly in ahead:
                assembly.cancel()

    def _depth(self) -> int:
        """Return how many batches to prefetch."""
        return math.ceil(_SAMPLES_AHEAD * self._spec.workers * self._world_size / self._global_batch)

    def _assembly(self, step: int) -> Assembly:
        position, sampler, whole = step, self._videos, self._global_batch
        if self._mixed:
            place = place_of_batch(self._seed, step, self._spec.image_share)
            position = place.position
            if place.is_image:
                sampler, whole = self._images, self._image_batch
        share = whole // self._world_size
        first = position * whole + self._rank * share
        return Assembly(
            sampler,
            self._pool,
            range(first, first + share),
            size_px=self._sizes[position % len(self._sizes)],
            item_timeout_s=self._spec.item_timeout_s,
        )


def _samplers(
    sources: Sequence[PlannedSource], spec: DataSpec, seed: int, num_frames: int
) -> tuple[SourceSampler, SourceSampler]:
    """Return (images, videos), or all sources twice if each yields one frame."""
    if not sources:
        raise UsageError("There are no sources to train from.")
    if num_frames == 1:
        every = SourceSampler(sources, seed=seed, num_frames=1)
        return every, every
    images = [source for source in sources if is_image_name(source.uri)]
    videos = [source for source in sources if not is_image_name(source.uri)]
    if not videos and spec.image_share < 1:
        raise UsageError(
            f"The model takes clips of {num_frames} frames, but no source is a video by its name; add "
            "videos, or set data.image_share to 1."
        )
    if not images and spec.image_share > 0:
        raise UsageError("data.image_share is above 0, but no source is an image by its name.")
    return SourceSampler(images, seed=seed, num_frames=1), SourceSampler(
        videos, seed=seed, num_frames=num_frames
    )
