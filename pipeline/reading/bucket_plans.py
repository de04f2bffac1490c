"""Plans the batches of ``GridBuckets``: the grids of a dataset, and the order of their samples."""

from collections.abc import Sequence

import numpy as np

from bitmill.pipeline.reading.epoch_plans import OrderOptions
from bitmill.pipeline.reading.order.batch_plan import BatchPlan, LastFew, Take
from bitmill.pipeline.reading.order.bucket_counts import BucketCounts
from bitmill.pipeline.reading.order.bucket_order import BucketOrder, BucketRule
from bitmill.pipeline.reading.order.epoch_order import PassOrder, order_pass
from bitmill.pipeline.reading.samples.cut import Cut, SampleShape
from bitmill.pipeline.reading.samples.grid_buckets import Grids
from bitmill.pipeline.reading.samples.shuffle_window import Arrange, Arranged
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.splitmix64 import derive_key
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError


class BucketPlans:
    """Batches of one dataset, of one grid each.

    ``batch_sizes`` are the samples of a full batch of each grid, int64 [B]. Raises WrongArgumentError if the
    first epoch has no batch of some grid, all of whose samples would be dropped.
    """

    def __init__(
        self,
        source: ClipSource,
        shape: SampleShape,
        options: OrderOptions,
        *,
        grids: Grids,
        batch_sizes: Int64s,
        sample_tokens: Sequence[int],
    ) -> None:
        self._source, self._options, self._grids = source, options, grids
        self._sample_tokens = np.array(sample_tokens, np.int64)
        groups, clips, shapes = source.shape_runs()
        self._counts = BucketCounts.of(
            groups, grids.of_clips(shapes), clips * shape.count(shapes), num_groups=source.num_groups
        )
        self._rule = BucketRule(sizes=batch_sizes, remainder=options.remainder, lanes=options.lanes)
        self._orders = LastFew(self._make_order)
        self._check_none_is_dropped()

    def num_batches(self, epoch: int) -> int:
        """Number of global batches in an epoch; epochs differ, as their blocks do."""
        return self._orders.get(epoch).num_batches

    def plan(self, epoch: int, batch: int, *, rank: int, world_size: int) -> BatchPlan:
        """A rank's share of a global batch: consecutive, and as equal as can be."""
        if not 0 <= rank < world_size:
            raise WrongArgumentError(f"There is no rank {rank} of {world_size} ranks.")
        return self._orders.get(epoch).plan(batch, pass_number=epoch, rank=rank, world_size=world_size)

    def order(self, take: Take) -> PassOrder:
        """The pass that a take belongs to."""
        return self._orders.get(take.pass_number).order

    def arrange(self, take: Take) -> Arrange:
        """Bucket by bucket, batch by batch."""

        def arranged(cut: Cut, shapes_n3: Int64s) -> Arranged:
            of_samples = self._grids.of_clips(shapes_n3)[cut.clips]
            samples, grids = self._orders.get(take.pass_number).arrange(take.window, of_samples)
            return Arranged(samples, np.arange(len(samples)) * self._sample_tokens[grids])

        return arranged

    def _make_order(self, number: int) -> BucketOrder:
        order = order_pass(
            self._counts.of_groups,
            self._source.codes_bytes,
            key=derive_key(self._options.seed, 0, number),
            shuffle=self._options.shuffle,
            lanes=1,
            window_bytes=self._options.lane_bytes,
            single_groups=False,
        )
        return BucketOrder(order, self._counts, self._rule)

    def _check_none_is_dropped(self) -> None:
        missing = np.flatnonzero(self._orders.get(0).batches_per_bucket == 0).tolist()
        if not missing:
            return
        totals = self._counts.totals(len(self._rule.sizes))
        named = [
            f"{self._grids.name(grid)} ({totals[grid]} samples, {self._rule.sizes[grid]} a batch)"
            for grid in missing[:4]
        ]
        grids = ", ".join(named) + (", …" if len(missing) > 4 else "")
        raise WrongArgumentError(
            f'remainder="drop" would leave out all samples of {len(missing)} grids: {grids}. Use '
            'remainder="keep" or "pad", smaller batches, a larger window_bytes, GridBuckets(Padding()) or '
            "GridBuckets(FrameWindows(n)) for fewer grids, or a filter that selects the others."
        )
