"""Batches of one grid each: which samples of a pass make batch t, a pure function of the pass and the index.

A pass's windows (see ``epoch_order``) are taken ``lanes`` at a time: these form a **block**, whose codes are
in memory together. The samples of a block are sorted by **bucket**, the grid they have, and each bucket's are
dealt to its batches in turn, window after window: every batch mixes all windows of its block, and the same
places of all batches are from few of them, so that a rank reads little beyond its share. What fills no batch
is carried to the next block, but no further; then, and at the end of a pass, it is the bucket's remainder.
The batches of a block are permuted.

Axes: B buckets that a block has, R its batches, in order of buckets, L the windows that it takes from: those
of the block before, and its own.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bitmill.pipeline.reading.kernels.sample_layout import arrange_buckets, bucket_positions, carry_over
from bitmill.pipeline.reading.order.batch_plan import BatchPlan, LastFew, Remainder, Take
from bitmill.pipeline.reading.order.bucket_counts import BlockCounts, BucketCounts, carried_starts
from bitmill.pipeline.reading.order.epoch_order import PassOrder
from bitmill.pipeline.splitmix64 import derive_key, permutation
from bitmill.schemas.arrays import Int64s

_BATCHES = 3
"""Purpose of a derived key, beside those of ``epoch_order``: the order of a block's batches."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The batches of a block, before they are permuted."""

    counts: BlockCounts
    windows: list[int]
    """[L]: numbers in the pass."""
    needed: frozenset[int]
    """The windows that this block's batches take from, or the next one's."""
    sizes: Int64s
    """int64 [B]: samples of a full batch."""
    starts_BL: Int64s
    """int64 [B, L + 1]: the bucket's samples in the windows before each."""
    first_rows: Int64s
    """int64 [B + 1]: each bucket's first row in what follows."""
    bucket_of: Int64s
    """int64 [R]: the batch's bucket, in [0, B)."""
    batch_sizes: Int64s
    """int64 [R]: samples of the batch, without padding."""
    places_RL: Int64s
    """int64 [R, L + 1]: the batch's samples that are of the windows before each."""
    firsts_RL: Int64s
    """int64 [R, L]: the batch's first sample in the window, whose samples are in order of blocks and rows."""
    permuted: list[int]
    """The row of each batch in the order of the epoch."""

    def buckets_in(self, column: int) -> Int64s:
        """Numbers of the buckets of the samples that the block takes from a window, in order of rows."""
        taken = self.places_RL[:, column + 1] - self.places_RL[:, column]
        return np.repeat(self.counts.buckets[self.bucket_of], taken)


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
        blocks, self._buckets, self._table = self._carried()
        self._entries = np.searchsorted(blocks, np.arange(num_blocks + 1)).tolist()
        """Each block's first entry in ``_buckets`` and ``_table``."""
        rows = self._rows(self._table[:, 1], self._table[:, 2])
        self.batches_per_bucket = np.zeros(len(rule.sizes), np.int64)
        np.add.at(self.batches_per_bucket, self._buckets, rows)
        self._ends: list[int] = np.concatenate(([0], np.cumsum(rows)))[self._entries].tolist()
        self._block_counts = LastFew(self._count_block)
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
        takes = _takes(block, row, pass_number)
        size = int(block.batch_sizes[row])
        if self._rule.remainder == "pad" and size < block.sizes[bucket]:
            takes += _padding(block, row, pass_number, dealt=self.order.shuffle)
            size = int(block.sizes[bucket])
        if world_size > 1:
            takes = list(_shared(takes, size * rank // world_size, size * (rank + 1) // world_size))
        return BatchPlan(takes, grid=int(block.counts.buckets[bucket]), num_samples=size, needed=block.needed)

    def arrange(self, window: int, buckets: Int64s) -> tuple[Int64s, Int64s]:
        """The order of a window's samples, whose buckets are int64 [n]: numbers of samples, and buckets.

        Those of the block's batches come first, then those of the next block's.
        """
        number = bisect_right(self._bounds, window) - 1
        block, at = self._blocks.get(number), window - self._bounds[number]
        column = len(block.windows) - (self._bounds[number + 1] - window)
        samples = self.order.samples_of(window)
        own = np.searchsorted(block.counts.buckets, buckets)[samples]
        positions = bucket_positions(own, np.ascontiguousarray(block.counts.starts[:, at]))
        positions -= block.counts.first_carried[own]
        stays = positions < 0
        of_samples = [block.buckets_in(column)]
        following = None
        if not stays.all():
            following = self._blocks.get(number + 1)
            of_samples.append(following.buckets_in(at))
        in_order = np.concatenate(of_samples)
        arranged = np.empty(len(in_order), np.int64)
        starts = block.counts.first_carried + block.counts.carried_in
        self._arrange_in(block, column, samples[stays], buckets, (positions + starts[own])[stays], arranged)
        if following is not None:
            self._arrange_in(following, at, samples[~stays], buckets, positions[~stays], arranged)
        return arranged, in_order

    def _arrange_in(  # noqa: PLR0917 - as the kernel
        self, block: Block, column: int, samples: Int64s, buckets: Int64s, positions: Int64s, arranged: Int64s
    ) -> None:
        arrange_buckets(
            samples,
            np.searchsorted(block.counts.buckets, buckets[samples]),
            positions,
            block.sizes,
            block.counts.num_full,
            block.first_rows,
            block.places_RL,
            block.firsts_RL,
            column,
            self.order.shuffle,
            arranged,
        )

    def _rows(self, num_full: Int64s, rest: Int64s) -> Int64s:
        """Number of batches."""
        return num_full + ((rest > 0) if self._rule.remainder != "drop" else 0)

    def _carried(self) -> tuple[Int64s, Int64s, Int64s]:
        """Block, bucket, and what ``carry_over`` tells of each bucket that a block has, in this order."""
        order = self.order
        window_of = np.repeat(np.arange(order.num_windows), np.diff(order.window_starts))
        block_of = np.searchsorted(self._bounds, window_of, side="right") - 1
        owners, entries = self._counts.entries_of(order.groups)
        keys = self._counts.buckets[entries] * len(self._bounds) + block_of[owners]
        pairs, which = np.unique(keys, return_inverse=True)
        samples = np.zeros(len(pairs), np.int64)
        np.add.at(samples, which.reshape(-1), self._counts.counts[entries])
        buckets, blocks = pairs // len(self._bounds), pairs % len(self._bounds)
        table = carry_over(buckets, blocks, samples, self._rule.sizes)
        by_block = np.lexsort((buckets, blocks))
        return blocks[by_block], buckets[by_block], table[by_block]

    def _count_block(self, number: int) -> BlockCounts:
        order, first, end = self.order, self._bounds[number], self._bounds[number + 1]
        starts = order.window_starts[first : end + 1]
        owners, entries = self._counts.entries_of(order.groups[starts[0] : starts[-1]])
        window_of = np.searchsorted(starts - starts[0], owners, side="right") - 1
        here = slice(self._entries[number], self._entries[number + 1])
        buckets, table = self._buckets[here], self._table[here]
        counts = np.zeros((len(buckets), end - first), np.int64)
        at = np.searchsorted(buckets, self._counts.buckets[entries])
        np.add.at(counts, (at, window_of), self._counts.counts[entries])
        return BlockCounts(
            buckets=buckets,
            starts=np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0))),
            carried_in=table[:, 0],
            num_full=table[:, 1],
            rest=table[:, 2],
            carried_out=table[:, 3],
        )

    def _block(self, number: int) -> Block:
        counts = self._block_counts.get(number)
        before = self._block_counts.get(number - 1) if number else None
        sizes, rest = self._rule.sizes[counts.buckets], counts.rest
        starts_BL = np.concatenate((carried_starts(counts, before), counts.starts[:, 1:]), axis=1)
        starts_BL[:, -counts.starts.shape[1] + 1 :] += counts.carried_in[:, None]
        rows = self._rows(counts.num_full, rest)
        first_rows = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
        bucket_of = np.repeat(np.arange(len(counts.buckets)), rows)
        batch = np.arange(len(bucket_of)) - first_rows[bucket_of]
        is_full = batch < counts.num_full[bucket_of]
        batch_sizes = np.where(is_full, sizes[bucket_of], rest[bucket_of])
        places_RL = _places(starts_BL[bucket_of], batch, sizes[bucket_of], batch_sizes)
        if self.order.shuffle:
            dealt = _dealt_places(starts_BL[bucket_of], batch, counts.num_full[bucket_of], batch_sizes)
            places_RL = np.where(is_full[:, None], dealt, places_RL)
        in_windows = np.diff(places_RL, axis=1)
        firsts_RL = np.cumsum(in_windows, axis=0) - in_windows
        first, end = self._bounds[number], self._bounds[number + 1]
        windows = list(range(first, end))
        needed = set(windows)
        if before is not None:
            carrying = before.starts.shape[1] - 1
            firsts_RL[:, :carrying] += before.taken(rest=self._rule.remainder != "drop")
            windows = [*range(first - carrying, first), *windows]
            needed |= {windows[at] for at in np.flatnonzero(in_windows[:, :carrying].any(axis=0)).tolist()}
        key = derive_key(self.order.key, _BATCHES, number)
        permuted = permutation(len(batch), key) if self.order.shuffle else np.arange(len(batch))
        return Block(
            counts=counts,
            windows=windows,
            needed=frozenset(needed),
            sizes=sizes,
            starts_BL=starts_BL,
            first_rows=first_rows,
            bucket_of=bucket_of,
            batch_sizes=batch_sizes,
            places_RL=places_RL,
            firsts_RL=firsts_RL,
            permuted=permuted.tolist(),
        )


def _takes(block: Block, row: int, pass_number: int) -> list[Take]:
    places, firsts = block.places_RL[row].tolist(), block.firsts_RL[row].tolist()
    windows = block.windows
    return [
        Take(0, pass_number, windows[at], first, places[at + 1] - places[at], places[at], True, at)
        for at, first in enumerate(firsts)
        if places[at + 1] > places[at]
    ]


def _places(starts_RL: Int64s, batch: Int64s, sizes: Int64s, batch_sizes: Int64s) -> Int64s:
    """How many of a batch's samples are before each window if a batch is a run of its bucket's samples."""
    return np.clip(starts_RL - (batch * sizes)[:, None], 0, batch_sizes[:, None])


def _dealt_places(starts_RL: Int64s, batch: Int64s, num_full: Int64s, batch_sizes: Int64s) -> Int64s:
    """The same if sample p of a bucket is dealt to batch p mod ``num_full``, at place p // ``num_full``."""
    turns = -((batch[:, None] - starts_RL) // np.maximum(num_full, 1)[:, None])
    return np.clip(turns, 0, batch_sizes[:, None])


def _padding(block: Block, row: int, pass_number: int, *, dealt: bool) -> Iterator[Take]:
    """Yield takes that fill a bucket's last batch with its samples from the first on, not valid."""
    bucket = int(block.bucket_of[row])
    size, own = int(block.sizes[bucket]), int(block.batch_sizes[row])
    starts, num_full = block.starts_BL[bucket], int(block.counts.num_full[bucket])
    positions = np.arange(size - own) % starts[-1]
    column = np.searchsorted(starts, positions, side="right") - 1
    batch, place = np.divmod(positions, size)
    if dealt and num_full:
        in_full = positions < num_full * size
        place, batch = np.where(in_full, np.divmod(positions, num_full), (place, batch))
    rows = block.first_rows[bucket] + batch
    first = block.firsts_RL[rows, column] + place - block.places_RL[rows, column]
    for number, (at, sample) in enumerate(zip(column.tolist(), first.tolist(), strict=True)):
        yield Take(0, pass_number, block.windows[at], sample, 1, own + number, False, at)


def _shared(takes: list[Take], first: int, end: int) -> Iterator[Take]:
    """Yield what of takes is in the places [first, end), which are counted from ``first``."""
    for take in takes:
        low, high = max(first, take.place), min(end, take.place + take.num_samples)
        if low < high:
            start = take.first + low - take.place
            yield take._replace(first=start, num_samples=high - low, place=low - first)
