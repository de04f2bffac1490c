"""Plans the batches of an epoch for each kind of TokenBatches: what is in batch t, and how windows are read.

One dataset and a mixture have a class each here, ``GridBuckets`` one in ``bucket_plans``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from bitmill.pipeline.reading.order.batch_plan import (
    BatchPlan,
    MixturePlan,
    Passes,
    Remainder,
    Share,
    Take,
    num_alike,
    num_batches,
    plan_epoch,
)
from bitmill.pipeline.reading.order.epoch_order import PassOrder, order_pass
from bitmill.pipeline.reading.order.mixture_weights import thresholds
from bitmill.pipeline.reading.samples.cut import SampleShape
from bitmill.pipeline.reading.samples.sample_shapes import Clips, Padding
from bitmill.pipeline.reading.samples.shuffle_window import Arrange, Arranged
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.splitmix64 import derive_key
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """What the order of an epoch depends on, beside the clips and their shape."""

    shuffle: bool
    seed: int
    remainder: Remainder
    lanes: int
    lane_bytes: int
    """Codes of a lane's window."""


class EpochPlans(Protocol):
    """The batches of all epochs, as a function of their numbers."""

    def num_batches(self, epoch: int) -> int:
        """Number of global batches. Raises WrongArgumentError if there is none."""
        ...

    def plan(self, epoch: int, batch: int, *, rank: int, world_size: int) -> BatchPlan:
        """A rank's share of a global batch. Raises WrongArgumentError if it cannot be shared so."""
        ...

    def order(self, take: Take) -> PassOrder:
        """The pass that a take belongs to."""
        ...

    def arrange(self, take: Take) -> Arrange:
        """The order of the samples of a take's window."""
        ...


class _Alike(NamedTuple):
    """Batches in a row that have the same takes, but for the samples ahead."""

    epoch: int
    batches: range
    share: Share
    takes: list[Take]


class StreamPlans:
    """Batches of one dataset; the base of those of several."""

    def __init__(
        self,
        sources: Sequence[ClipSource],
        shape: SampleShape,
        options: OrderOptions,
        *,
        batch_size: int,
        sample_tokens: int,
    ) -> None:
        self._sources, self._shape, self._options = list(sources), shape, options
        self._batch_size, self._sample_tokens = batch_size, sample_tokens
        self.counts = [_samples_of(source, shape) for source in sources]
        """Of each dataset, the number of samples in each row group; for packed rows, its clips."""
        self.passes = [
            Passes(partial(self._make_order, stream), alike=shape.per_clip) for stream in range(len(sources))
        ]
        self._alike: _Alike | None = None
        """Around the batch planned last."""

    def num_batches(self, epoch: int) -> int:
        """Number of global batches in an epoch."""
        total = self.passes[0].order(epoch).num_samples
        number = num_batches(total, self._batch_size, self._options.remainder)
        if not number:
            raise WrongArgumentError(
                f"An epoch has {total} samples, fewer than a batch of {self._batch_size}; use a "
                'smaller batch_size, or remainder="pad".'
            )
        return number

    def plan(self, epoch: int, batch: int, *, rank: int, world_size: int) -> BatchPlan:
        """A rank's share of a global batch: equal shares for all."""
        share = self._share(rank, world_size)
        order = self.passes[0].order(epoch)
        alike = self._alike
        if alike is None or epoch != alike.epoch or batch not in alike.batches or share != alike.share:
            takes = plan_epoch(order, epoch, batch, share, self._options.remainder)
            batches = range(batch, batch + num_alike(order, takes, share))
            alike = self._alike = _Alike(epoch, batches, share, takes)
        per_lane = self._batch_size // order.lanes
        return BatchPlan(alike.takes, ahead=(batch - alike.batches.start) * per_lane)

    def order(self, take: Take) -> PassOrder:
        """The pass that a take belongs to."""
        return self.passes[take.stream].order(take.pass_number)

    def arrange(self, take: Take) -> Arrange:
        """The pass's order; all samples have as many tokens."""

        def arranged(*_: object) -> Arranged:
            samples = self.order(take).samples_of(take.window)
            return Arranged(samples, np.arange(len(samples)) * self._sample_tokens)

        return arranged

    def _share(self, rank: int, world_size: int) -> Share:
        if not 0 <= rank < world_size or self._batch_size % world_size:
            raise WrongArgumentError(
                f"A global batch of {self._batch_size} cannot be split over {world_size} ranks (rank "
                f"{rank}); batch_size counts the samples of all ranks and must be a multiple of their "
                "number."
            )
        count = self._batch_size // world_size
        return Share(batch_size=self._batch_size, first=rank * count, count=count)

    def _make_order(self, stream: int, number: int) -> PassOrder:
        return order_pass(
            self.counts[stream],
            self._sources[stream].codes_bytes,
            key=derive_key(self._options.seed, stream, number),
            shuffle=self._options.shuffle,
            lanes=self._options.lanes,
            window_bytes=self._options.lane_bytes,
            count_window=None if self._shape.per_clip else partial(self._count_window, stream),
        )

    def _count_window(self, stream: int, groups: Int64s) -> int:
        shapes = [self._sources[stream].shapes_of(group) for group in groups.tolist()]
        return int(self._shape.count(np.concatenate(shapes)).sum())


class MixturePlans(StreamPlans):
    """Batches of several datasets by weight; an epoch is a number of batches."""

    def __init__(
        self,
        sources: Sequence[ClipSource],
        shape: SampleShape,
        options: OrderOptions,
        *,
        batch_size: int,
        sample_tokens: int,
        weights: Sequence[float],
        batches_per_epoch: int | None,
    ) -> None:
        super().__init__(sources, shape, options, batch_size=batch_size, sample_tokens=sample_tokens)
        self._batches_per_epoch = batches_per_epoch
        for source, passes in zip(sources, self.passes, strict=True):
            if passes.order(0).num_samples < options.lanes:
                raise WrongArgumentError(
                    f"{source.parts[0].files.folder.uri} has {passes.order(0).num_samples} "
                    f"samples, fewer than the {options.lanes} lanes of a batch; pass a smaller lanes=."
                )
        key = derive_key(options.seed, -1)
        self._mixture = MixturePlan(self.passes, thresholds(list(weights)), key=key, lanes=options.lanes)

    def num_batches(self, epoch: int) -> int:  # noqa: ARG002 - all epochs are alike
        """As asked for, or as many as all samples together fill."""
        if self._batches_per_epoch is None:
            total = sum(passes.order(0).num_samples for passes in self.passes)
            self._batches_per_epoch = max(1, total // self._batch_size)
        return self._batches_per_epoch

    def plan(self, epoch: int, batch: int, *, rank: int, world_size: int) -> BatchPlan:
        """A rank's share of a global batch: equal shares for all."""
        number = epoch * self.num_batches(0) + batch
        return BatchPlan(self._mixture.plan(number, self._share(rank, world_size)))


def _samples_of(source: ClipSource, shape: SampleShape) -> Int64s:
    if isinstance(shape, Clips | Padding) or not shape.per_clip:
        return source.num_clips
    groups, clips, shapes = source.shape_runs()
    counts = np.zeros(source.num_groups, np.int64)
    np.add.at(counts, groups, clips * shape.count(shapes))
    return counts
