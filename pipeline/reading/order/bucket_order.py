"""Batches of one grid each: which samples of a pass make batch t, a pure function of the pass and the index.

A pass's windows (see ``epoch_order``) are taken ``lanes`` at a time: these form a **block**, whose codes are
in memory together. The samples of a block are sorted by **bucket**, the grid they have, and each bucket's are
dealt to its batches in turn, window after window: every batch mixes all windows of its block, and the same
places of all batches are from few of them, so that a rank reads little beyond its share. What does not fill a
batch is the bucket's remainder in this block. The batches of a block are permuted.

Axes: B buckets that a block has, R its batches, in order of buckets, L its windows.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bitmill.pipeline.reading.kernels.sample_layout import arrange_buckets
from bitmill.pipeline.reading.order.batch_plan import BatchPlan, LastFew, Remainder, Take
from bitmill.pipeline.reading.order.epoch_order import PassOrder
from bitmill.pipeline.splitmix64 import derive_key, permutation
from bitmill.schemas.arrays import Int64s

_BATCHES = 3
"""Purpose of a derived key, beside those of ``epoch_order``: the order of a block's batches."""


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
class Block:
    """The batches of a block, before they are permuted."""

    buckets: Int64s
    """int64 [B]: numbers of the buckets, ascending."""
    sizes: Int64s
    """int64 [B]: samples of a full batch."""
    starts_BL: Int64s
    """int64 [B, L + 1]: the bucket's samples in the windows before each."""
    num_full: Int64s
    """int64 [B]: full batches."""
    first_rows: Int64s
    """int64 [B + 1]: each bucket's first row in what follows."""
    bucket_of: Int64s
    """int64 [R]: place of the batch's bucket in ``buckets``."""
    batch_sizes: Int64s
    """int64 [R]: samples of the batch, without padding."""
    places_RL: Int64s
    """int64 [R, L + 1]: the batch's samples that are of the windows before each."""
    firsts_RL: Int64s
    """int64 [R, L]: the batch's first sample among those of the window, which are in order of rows."""
    permuted: list[int]
    """The row of each batch in the order of the epoch."""

    @cached_property
    def num_samples(self) -> Int64s:
        """int64 [R, L]: samples of a window in the batch."""
        return np.diff(self.places_RL, axis=1)


@dataclass(frozen=True, kw_only=True)
class BucketRule:
    """How a block's samples become batches."""

    sizes: Int64s
    """int64 [num_buckets]: samples of a full batch of each bucket."""
    remainder: Remainder
    lanes: int
    """Windows of a block."""


class BucketOrder:
    """The batches of one pass, by number. Safe for threads."""

    def __init__(self, order: PassOrder, counts: BucketCounts, rule: BucketRule) -> None:
        self.order = order
        self._counts = counts
        self._rule = rule
        num_blocks = -(-order.num_windows // rule.lanes)
        self._bounds = [block * order.num_windows // max(1, num_blocks) for block in range(num_blocks + 1)]
        """Each block's first window, and the end; blocks are as equal as can be."""
        self.batches_per_bucket, ends = self._counted(num_blocks)
        self._ends: list[int] = ends.tolist()
        self._blocks = LastFew(self._block)

    @property
    def num_batches(self) -> int:
        """Number of global batches in the pass."""
        return self._ends[-1]

    def plan(self, batch: int, *, pass_number: int, rank: int, world_size: int) -> BatchPlan:
        """A rank's share of global batch ``batch``, of whose n samples it has those from n·rank // world_size
        to n·(rank + 1) // world_size."""
        number = bisect_right(self._ends, batch) - 1
        block = self._blocks.get(number)
        row = block.permuted[batch - self._ends[number]]
        bucket = int(block.bucket_of[row])
        takes = self._takes(block, row, self._bounds[number], pass_number)
        size = int(block.batch_sizes[row])
        if self._rule.remainder == "pad" and size < block.sizes[bucket]:
            first_window, dealt = self._bounds[number], self.order.shuffle
            takes += _padding(block, row, first_window, pass_number, dealt=dealt)
            size = int(block.sizes[bucket])
        first, end = size * rank // world_size, size * (rank + 1) // world_size
        if world_size > 1:
            takes = list(_shared(takes, first, end))
        return BatchPlan(takes, int(block.buckets[bucket]), size)

    def arrange(self, window: int, buckets: Int64s) -> tuple[Int64s, Int64s]:
        """The order of a window's samples, whose buckets are int64 [n]: numbers of samples, and buckets."""
        number = bisect_right(self._bounds, window) - 1
        block = self._blocks.get(number)
        at = window - self._bounds[number]
        counts = block.num_samples[:, at]
        samples = arrange_buckets(
            self.order.samples_of(window),
            np.searchsorted(block.buckets, buckets),
            np.ascontiguousarray(block.starts_BL[:, at]),
            block.sizes,
            block.num_full,
            block.first_rows,
            block.places_RL,
            block.firsts_RL,
            at,
            self.order.shuffle,
            int(counts.sum()),
        )
        return samples, np.repeat(block.buckets[block.bucket_of], counts)

    @staticmethod
    def _takes(block: Block, row: int, first_window: int, pass_number: int) -> list[Take]:
        places, firsts = block.places_RL[row].tolist(), block.firsts_RL[row].tolist()
        return [
            Take(0, pass_number, first_window + at, first, places[at + 1] - places[at], places[at], True, at)
            for at, first in enumerate(firsts)
            if places[at + 1] > places[at]
        ]

    def _counted(self, num_blocks: int) -> tuple[Int64s, Int64s]:
        """Batches of each bucket, int64 [num_buckets], and batches before each block, [num_blocks + 1]."""
        order, num_buckets = self.order, len(self._rule.sizes)
        window_of = np.repeat(np.arange(order.num_windows), np.diff(order.window_starts))
        block_of = np.searchsorted(self._bounds, window_of, side="right") - 1
        owners, entries = self._counts.entries_of(order.groups)
        pairs, which = np.unique(
            block_of[owners] * num_buckets + self._counts.buckets[entries], return_inverse=True
        )
        samples = np.zeros(len(pairs), np.int64)
        np.add.at(samples, which.reshape(-1), self._counts.counts[entries])
        sizes = self._rule.sizes[pairs % num_buckets]
        batches = samples // sizes if self._rule.remainder == "drop" else -(-samples // sizes)
        per_bucket, per_block = np.zeros(num_buckets, np.int64), np.zeros(num_blocks, np.int64)
        np.add.at(per_bucket, pairs % num_buckets, batches)
        np.add.at(per_block, pairs // num_buckets, batches)
        return per_bucket, np.concatenate(([0], np.cumsum(per_block))).astype(np.int64)

    def _block(self, number: int) -> Block:
        order, windows = self.order, range(self._bounds[number], self._bounds[number + 1])
        starts = order.window_starts[windows.start : windows.stop + 1]
        owners, entries = self._counts.entries_of(order.groups[starts[0] : starts[-1]])
        window_of = np.searchsorted(starts - starts[0], owners, side="right") - 1
        buckets, at = np.unique(self._counts.buckets[entries], return_inverse=True)
        counts_BL = np.zeros((len(buckets), len(windows)), np.int64)
        np.add.at(counts_BL, (at.reshape(-1), window_of), self._counts.counts[entries])
        starts_BL = np.pad(np.cumsum(counts_BL, axis=1), ((0, 0), (1, 0)))
        sizes = self._rule.sizes[buckets]
        num_full, rest = np.divmod(starts_BL[:, -1], sizes)
        rows = num_full + ((rest > 0) if self._rule.remainder != "drop" else 0)
        first_rows = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
        bucket_of = np.repeat(np.arange(len(buckets)), rows)
        batch = np.arange(len(bucket_of)) - first_rows[bucket_of]
        is_full = batch < num_full[bucket_of]
        batch_sizes = np.where(is_full, sizes[bucket_of], rest[bucket_of])
        places_RL = _places(starts_BL[bucket_of], batch, sizes[bucket_of], batch_sizes)
        if order.shuffle:
            dealt = _dealt_places(starts_BL[bucket_of], batch, num_full[bucket_of], batch_sizes)
            places_RL = np.where(is_full[:, None], dealt, places_RL)
        in_windows = np.diff(places_RL, axis=1)
        key = derive_key(order.key, _BATCHES, number)
        permuted = permutation(len(batch), key) if order.shuffle else np.arange(len(batch))
        return Block(
            buckets=buckets,
            sizes=sizes,
            starts_BL=starts_BL,
            num_full=num_full,
            first_rows=first_rows,
            bucket_of=bucket_of,
            batch_sizes=batch_sizes,
            places_RL=places_RL,
            firsts_RL=np.cumsum(in_windows, axis=0) - in_windows,
            permuted=permuted.tolist(),
        )


def _places(starts_RL: Int64s, batch: Int64s, sizes: Int64s, batch_sizes: Int64s) -> Int64s:
    """How many of a batch's samples are before each window if a batch is a run of its bucket's samples."""
    return np.clip(starts_RL - (batch * sizes)[:, None], 0, batch_sizes[:, None])


def _dealt_places(starts_RL: Int64s, batch: Int64s, num_full: Int64s, batch_sizes: Int64s) -> Int64s:
    """The same if sample p of a bucket is dealt to batch p mod ``num_full``, at place p // ``num_full``."""
    turns = -((batch[:, None] - starts_RL) // np.maximum(num_full, 1)[:, None])
    return np.clip(turns, 0, batch_sizes[:, None])


def _padding(block: Block, row: int, first_window: int, pass_number: int, *, dealt: bool) -> Iterator[Take]:
    """Yield takes that fill a bucket's last batch with its samples from the first on, not valid."""
    bucket = int(block.bucket_of[row])
    size, own = int(block.sizes[bucket]), int(block.batch_sizes[row])
    starts, num_full = block.starts_BL[bucket], int(block.num_full[bucket])
    positions = np.arange(size - own) % starts[-1]
    window = np.searchsorted(starts, positions, side="right") - 1
    batch, place = np.divmod(positions, size)
    if dealt and num_full:
        in_full = positions < num_full * size
        place, batch = np.where(in_full, np.divmod(positions, num_full), (place, batch))
    rows = block.first_rows[bucket] + batch
    first = block.firsts_RL[rows, window] + place - block.places_RL[rows, window]
    for number, (at, sample) in enumerate(zip(window.tolist(), first.tolist(), strict=True)):
        yield Take(0, pass_number, first_window + at, sample, 1, own + number, False, at)


def _shared(takes: list[Take], first: int, end: int) -> Iterator[Take]:
    """Yield what of takes is in the places [first, end), which are counted from ``first``."""
    for take in takes:
        low, high = max(first, take.place), min(end, take.place + take.num_samples)
        if low < high:
            start = take.first + low - take.place
            yield take._replace(first=start, num_samples=high - low, place=low - first)
