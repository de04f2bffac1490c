"""Plans which samples make batch t for one rank: a pure function of t, without reading.

A **stream** is one dataset of the mixture; a **take** is a run of consecutive samples of one window that fill
consecutive places of the batch. Lane c of a stream goes through its passes: pass 0, 1, … are its epochs.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

from bitmill.pipeline.reading.order.epoch_order import PassOrder
from bitmill.pipeline.reading.order.mixture_weights import choices, counts_before
from bitmill.pipeline.splitmix64 import derive_key

Remainder = Literal["drop", "pad", "keep"]
"""How to treat the last samples of an epoch that do not fill a global batch. drop: leave them out; which ones
differs by epoch. pad: fill the last batch with samples that follow in the pass, marked not ``valid``. keep:
make the last batch smaller; it may be empty on some ranks (for evaluation, not for data-parallel training).
"""

Made = TypeVar("Made")

_KEPT = 4


class Take(NamedTuple):
    """Samples [first, first + num_samples) of a window, for as many places of the batch from ``place``."""

    stream: int
    pass_number: int
    window: int
    first: int
    num_samples: int
    place: int
    valid: bool
    lane: int
    """The lane that the samples belong to: a lane of a stream goes through windows one after the other."""


class BatchPlan(NamedTuple):
    """One rank's share of a global batch."""

    takes: list[Take]
    ahead: int = 0
    """Samples by which this batch is further than ``takes``, which batches in a row share (see ``now``)."""
    grid: int = 0
    """The number of the token grid of its samples; 0 where all samples of the datasets have one."""
    num_samples: int = 0
    """Of the global batch of ``GridBuckets``, whose size varies."""
    needed: frozenset[int] | None = None
    """The windows of the pass that this batch or later ones take from, of those that earlier ones did; None:
    those that some lane is in."""

    @property
    def now(self) -> list[Take]:
        """This batch's own takes."""
        if not self.ahead:
            return self.takes
        return [take._replace(first=take.first + self.ahead) for take in self.takes]


@dataclass(frozen=True, kw_only=True)
class Share:
    """The places of a global batch that one rank takes: [first, first + count)."""

    batch_size: int
    first: int
    count: int


@dataclass
class LastFew(Generic[Made]):
    """What ``make`` makes of a number; the last few are cached."""

    make: Callable[[int], Made]
    _kept: "OrderedDict[int, Made]" = field(default_factory=OrderedDict[int, Made], kw_only=True)

    def get(self, number: int) -> Made:
        """What is made of ``number``. Safe for threads: at worst, two of them make the same."""
        found = self._kept.get(number)
        if found is None:
            found = self._kept[number] = self.make(number)
            with suppress(KeyError):
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return found


@dataclass
class Passes(LastFew[PassOrder]):
    """The orders of a stream's passes, made on demand."""

    alike: bool
    """True if every pass has the same number of samples."""

    def order(self, number: int) -> PassOrder:
        """The order of pass ``number``. Safe for threads."""
        return self.get(number)


def num_batches(num_samples: int, batch_size: int, remainder: Remainder) -> int:
    """Number of global batches in an epoch of ``num_samples`` samples."""
    return num_samples // batch_size if remainder == "drop" else -(-num_samples // batch_size)


def plan_epoch(order: PassOrder, epoch: int, batch: int, share: Share, remainder: Remainder) -> list[Take]:
    """Takes of global batch ``batch`` of one dataset's epoch, in order of places."""
    takes: list[Take] = []
    per_lane = share.batch_size // order.lanes
    for lane, low, high in _lanes(share, per_lane):
        start, end = order.lane_bounds[lane]
        place = lane * per_lane + low - share.first
        first = start + batch * per_lane + low
        last = first + high - low
        if last <= end:
            takes += _cut(order, (0, epoch, lane), first, high - low, place, valid=True)
            continue
        real = max(0, end - first)
        takes += _cut(order, (0, epoch, lane), first, real, place, valid=True)
        if remainder == "pad":
            for position in range(first + real, last):
                again = position % order.num_samples
                takes += _cut(order, (0, epoch, lane), again, 1, place + position - first, valid=False)
    return _closed_up(takes) if remainder == "keep" else takes


def num_alike(order: PassOrder, takes: Sequence[Take], share: Share) -> int:
    """How many batches in a row, the first with ``takes``, differ only by the samples ahead, while all lanes
    stay in their windows."""
    per_lane = share.batch_size // order.lanes
    lanes = [lane for lane, _, _ in _lanes(share, per_lane)]
    if [take.lane for take in takes] != lanes or not all(take.valid for take in takes):
        return 1
    ends = order.end_list
    left = (
        min(ends[take.window + 1], order.lane_bounds[take.lane][1])
        - (ends[take.window] + take.first + take.num_samples)
        for take in takes
    )
    return 1 + min(left, default=0) // per_lane


class MixturePlan:
    """Endless batches of several streams by weight: each lane of each stream goes from pass to pass.

    Each stream's passes recur in proportion to its weight, and no sample occurs twice within a pass.
    """

    def __init__(self, streams: Sequence[Passes], ends: list[int], *, key: int, lanes: int) -> None:
        self._streams = list(streams)
        self._ends = ends
        self._key = key
        self._lanes = lanes
        self._begun: dict[tuple[int, int], tuple[int, int]] = {}

    def plan(self, batch: int, share: Share) -> list[Take]:
        """Takes of global batch ``batch``, counted from the start of epoch 0."""
        takes: list[Take] = []
        per_lane = share.batch_size // self._lanes
        for lane, low, high in _lanes(share, per_lane):
            key = derive_key(self._key, lane)
            first = batch * per_lane + low
            place = lane * per_lane + low - share.first
            before = counts_before(first, self._ends, key)
            for stream, length in _equal_runs(choices(first, high - low, self._ends, key)):
                takes += self._take(stream, lane, before[stream], length, place)
                before[stream] += length
                place += length
        return takes

    def _take(self, stream: int, lane: int, index: int, count: int, place: int) -> Iterator[Take]:
        """Yield samples [index, index + count) of a stream's lane as takes, across pass boundaries."""
        while count:
            number, begun = self._pass_at(stream, lane, index)
            order = self._streams[stream].order(number)
            start, end = order.lane_bounds[lane]
            now = min(count, begun + end - start - index)
            yield from _cut(order, (stream, number, lane), start + index - begun, now, place, valid=True)
            index, count, place = index + now, count - now, place + now

    def _pass_at(self, stream: int, lane: int, index: int) -> tuple[int, int]:
        """The pass that contains sample ``index`` of a lane, and the number of the lane's earlier samples."""
        passes = self._streams[stream]
        number, begun = self._begun.get((stream, lane), (0, 0))
        if index < begun:
            number = begun = 0
        if passes.alike:
            start, end = passes.order(number).lane_bounds[lane]
            number = index // (end - start)
            return number, number * (end - start)
        while True:
            start, end = passes.order(number).lane_bounds[lane]
            if index < begun + end - start:
                self._begun[stream, lane] = (number, begun)
                return number, begun
            number, begun = number + 1, begun + end - start


def _lanes(share: Share, per_lane: int) -> Iterator[tuple[int, int, int]]:
    """Yield the lanes that a share overlaps, each with the range [low, high) of its places in a batch."""
    last = share.first + share.count
    for lane in range(share.first // per_lane, -(-last // per_lane)):
        base = lane * per_lane
        yield lane, max(0, share.first - base), min(per_lane, last - base)


def _cut(
    order: PassOrder, of_lane: tuple[int, int, int], position: int, count: int, place: int, *, valid: bool
) -> list[Take]:
    """Split consecutive positions of a pass into takes, one per window."""
    ends = order.end_list
    window = bisect_right(ends, position) - 1
    stream, number, lane = of_lane
    if 0 < count <= ends[window + 1] - position:
        # The usual case, worth a shortcut: this runs for every lane of every batch.
        return [Take(stream, number, window, position - ends[window], count, place, valid, lane)]
    takes: list[Take] = []
    while count:
        now = min(count, ends[window + 1] - position)
        if now:
            takes.append(Take(stream, number, window, position - ends[window], now, place, valid, lane))
        position, count, place, window = position + now, count - now, place + now, window + 1
    return takes


def _closed_up(takes: list[Take]) -> list[Take]:
    """Renumber places without gaps, for the smaller last batch."""
    place = 0
    closed: list[Take] = []
    if all(a.place + a.num_samples == b.place for a, b in pairwise(takes)) and not (takes and takes[0].place):
        return takes
    for take in takes:
        closed.append(take._replace(place=place))
        place += take.num_samples
    return closed


def _equal_runs(streams: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Iterator[tuple[int, int]]:
    """Yield runs of equal numbers: the number and the run's length."""
    bounds = np.concatenate(([0], np.flatnonzero(np.diff(streams)) + 1, [len(streams)]))
    for start, end in pairwise(bounds):
        if end > start:
            yield int(streams[start]), int(end - start)
