"""The order of one pass over a dataset, a pure function of a key: which sample is at which position.

1. Row groups are permuted (or stay in the dataset's order).
2. Consecutive row groups form a **window** of about ``window_bytes`` of codes; a window's samples are
   permuted.
3. The pass is the windows' samples, window after window. It is cut into ``lanes`` equal stretches.

A global batch takes the next samples of every lane, so it mixes ``lanes`` distant windows, while a reader
that needs only some places of each batch reads only the lanes of those places.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bitmill.pipeline.splitmix64 import derive_key, permutation
from bitmill.schemas.arrays import Int64s

_GROUPS, _SAMPLES = 1, 2
"""Purpose of a derived key: the order of row groups, or the order within a window."""


@dataclass(frozen=True, kw_only=True)
class PassOrder:
    """One pass: windows of row groups, and the number of samples in each window."""

    groups: Int64s
    """int64: the row groups that have samples, in the pass's order."""
    window_starts: Int64s
    """int64 [num_windows + 1]: start of each window's row groups in ``groups``."""
    ends: Int64s
    """int64 [num_windows + 1]: number of samples before each window; the last is the total."""
    key: int
    shuffle: bool
    lanes: int

    @property
    def num_samples(self) -> int:
        """Number of samples in the pass."""
        return int(self.ends[-1])

    @property
    def num_windows(self) -> int:
        """Number of windows in the pass."""
        return len(self.ends) - 1

    def groups_of(self, window: int) -> Int64s:
        """Row groups of a window, in order."""
        return self.groups[self.window_starts[window] : self.window_starts[window + 1]]

    def samples_of(self, window: int) -> Int64s:
        """The order of a window's samples, int64 [n]: sample numbers in its cut."""
        count = int(self.ends[window + 1] - self.ends[window])
        if not self.shuffle:
            return np.arange(count)
        return permutation(count, derive_key(self.key, _SAMPLES, window))

    @cached_property
    def lane_bounds(self) -> list[tuple[int, int]]:
        """Half-open position range of each lane; lane lengths differ by at most one sample."""
        return list(pairwise([lane * self.num_samples // self.lanes for lane in range(self.lanes + 1)]))

    @cached_property
    def end_list(self) -> list[int]:
        """``ends`` as a list of Python ints, faster to search for a single position."""
        return self.ends.tolist()


def order_pass(
    samples: Int64s,
    codes_bytes: Int64s,
    *,
    key: int,
    shuffle: bool,
    lanes: int,
    window_bytes: int,
    count_window: Callable[[Int64s], int] | None = None,
    single_groups: bool = True,
) -> PassOrder:
    """The order of a pass over row groups of ``samples`` [n] and ``codes_bytes`` [n].

    Groups without samples are skipped. ``count_window`` returns the number of samples of a window from its
    row groups, for shapes where it is not their sum. ``window_bytes`` is the codes of a lane's window;
    without shuffling, each row group is a window, if ``single_groups``, and there is one lane.
    """
    used = np.flatnonzero(samples > 0)
    groups = used[permutation(len(used), derive_key(key, _GROUPS))] if shuffle else used
    starts = _window_starts(codes_bytes[groups], window_bytes if shuffle or not single_groups else 0)
    if count_window is None:
        ends = np.concatenate(([0], np.cumsum(samples[groups])))[starts]
    else:
        counts = [count_window(groups[a:b]) for a, b in pairwise(starts)]
        ends = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return PassOrder(
        groups=groups,
        window_starts=starts,
        ends=ends,
        key=key,
        shuffle=shuffle,
        lanes=lanes if shuffle else 1,
    )


def _window_starts(codes_bytes: Int64s, window_bytes: int) -> Int64s:
    """A group starts a window if the bytes before it reach the next multiple of ``window_bytes``."""
    if not len(codes_bytes):
        return np.zeros(1, np.int64)
    if not window_bytes:
        return np.arange(len(codes_bytes) + 1)
    number = (np.cumsum(codes_bytes) - codes_bytes) // window_bytes
    return np.append(np.flatnonzero(np.concatenate(([True], number[1:] != number[:-1]))), len(codes_bytes))


def choose_lanes(batch_size: int, codes_bytes: Int64s, window_bytes: int) -> int:
    """Number of lanes per global batch: its largest divisor that fits one row group per lane in memory.

    Independent of the number of ranks and workers, so that the order is too.
    """
    most = most_lanes(batch_size, codes_bytes, window_bytes)
    return max(lanes for lanes in range(1, most + 1) if batch_size % lanes == 0)


def most_lanes(batch_size: int, codes_bytes: Int64s, window_bytes: int) -> int:
    """As many lanes as fit one row group each in memory, and at most one per sample of a batch."""
    mean = float(codes_bytes.mean()) if len(codes_bytes) else 1.0
    return min(batch_size, max(1, int(window_bytes // max(mean, 1.0))))
