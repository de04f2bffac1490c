"""Counts of samples by bucket: of row groups, as the index has them, and of blocks (see ``bucket_order``)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bitmill.schemas.arrays import Int64s


@dataclass(frozen=True, kw_only=True)
class BucketCounts:
    """The number of samples of each bucket in each row group, without zeros, ordered by row group."""

    starts: Int64s
    """int64 [num_groups + 1]: start of each row group's entries."""
    buckets: Int64s
    counts: Int64s

    @classmethod
    def of(cls, groups: Int64s, buckets: Int64s, counts: Int64s, *, num_groups: int) -> "BucketCounts":
        """Add up counts; entries may come in any order, and those of no sample are left out."""
        some = counts > 0
        width = int(buckets.max(initial=0)) + 1
        pairs, which = np.unique(groups[some] * width + buckets[some], return_inverse=True)
        sums = np.zeros(len(pairs), np.int64)
        np.add.at(sums, which.reshape(-1), counts[some])
        starts = np.searchsorted(pairs, np.arange(num_groups + 1) * width)
        return cls(starts=starts, buckets=pairs % width, counts=sums)

    def entries_of(self, groups: Int64s) -> tuple[Int64s, Int64s]:
        """Entries of some row groups, in order: place of the group in ``groups``, number of the entry."""
        first, sizes = self.starts[groups], self.starts[groups + 1] - self.starts[groups]
        owners = np.repeat(np.arange(len(groups)), sizes)
        return owners, np.arange(len(owners)) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)

    @cached_property
    def of_groups(self) -> Int64s:
        """Number of samples of each row group, int64 [num_groups]."""
        return np.diff(np.concatenate(([0], np.cumsum(self.counts)))[self.starts])

    def totals(self, num_buckets: int) -> Int64s:
        """Number of samples of each bucket, int64 [num_buckets]."""
        sums = np.zeros(num_buckets, np.int64)
        np.add.at(sums, self.buckets, self.counts)
        return sums


@dataclass(frozen=True, kw_only=True)
class BlockCounts:
    """How many samples a block has, and how many of them are carried."""

    buckets: Int64s
    """int64 [B]: numbers of the buckets, ascending."""
    starts: Int64s
    """int64 [B, own windows + 1]: the bucket's samples in the block's windows before each."""
    carried_in: Int64s
    """int64 [B]: samples of the block before."""
    num_full: Int64s
    """int64 [B]: full batches."""
    rest: Int64s
    """int64 [B]: samples of the remainder."""
    carried_out: Int64s
    """int64 [B]: samples of the next block's batches."""

    @property
    def first_carried(self) -> Int64s:
        """int64 [B]: the first sample that is carried out, among the block's own."""
        return self.starts[:, -1] - self.carried_out

    def taken(self, *, rest: bool) -> Int64s:
        """int64 [own windows]: samples that the block's batches take; with the remainder, or without."""
        end = self.first_carried - (0 if rest else self.rest)
        return np.diff(np.clip(self.starts, 0, np.maximum(end, 0)[:, None]), axis=1).sum(axis=0)


def carried_starts(counts: BlockCounts, before: BlockCounts | None) -> Int64s:
    """int64 [B, windows of the block before + 1]: carried samples in the windows before each."""
    if before is None:
        return np.zeros((len(counts.buckets), 1), np.int64)
    starts = np.zeros((len(counts.buckets), before.starts.shape[1]), np.int64)
    has = counts.carried_in > 0
    own = np.searchsorted(before.buckets, counts.buckets[has])
    starts[has] = np.maximum(before.starts[own] - before.first_carried[own, None], 0)
    return starts
