"""A batch's takes at the edges: many small windows, a rank behind the end, passes asked for by threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bitmill.pipeline.reading.order.batch_plan import Passes, Share, Take, plan_epoch
from bitmill.pipeline.reading.order.epoch_order import order_pass


def in_order(samples: list[int]):
    return order_pass(
        np.array(samples), np.full(len(samples), 10), key=0, shuffle=False, lanes=1, window_bytes=1
    )


def test_a_batch_may_take_from_thousands_of_windows():
    """A filter may leave one clip of each row group."""
    takes = plan_epoch(in_order([1] * 5000), 0, 0, Share(batch_size=5000, first=0, count=5000), "drop")
    assert [take.window for take in takes] == list(range(5000))
    assert [take.place for take in takes] == list(range(5000))


@pytest.mark.parametrize(
    ("remainder", "rank", "expected"),
    [
        ("keep", 0, [(1, 1, 2, 0, True)]),
        ("keep", 1, []),
        ("pad", 0, [(1, 1, 2, 0, True)]),
        ("pad", 1, [(0, 0, 1, 0, False), (0, 1, 1, 1, False)]),
    ],
)
def test_the_last_batch_of_a_rank_that_has_no_samples_left(remainder, rank, expected):
    # Six samples in windows of three: batch 1 of 4 has two, which are those of rank 0.
    share = Share(batch_size=4, first=2 * rank, count=2)
    takes = plan_epoch(in_order([3, 3]), 5, 1, share, remainder)
    assert takes == [
        Take(0, 5, window, first, count, place, valid, 0) for window, first, count, place, valid in expected
    ]


def test_passes_are_made_when_they_are_needed_and_few_are_kept():
    made: list[int] = []

    def make(number: int):
        made.append(number)
        return in_order([number + 1])

    passes = Passes(make, alike=False)
    assert [passes.order(number).num_samples for number in (0, 1, 0, 1)] == [1, 2, 1, 2]
    assert made == [0, 1]
    for number in range(10):
        passes.order(number)
    passes.order(0)
    assert made.count(0) == 2


def test_threads_may_ask_for_passes_at_once():
    passes = Passes(lambda number: in_order([number + 1]), alike=False)
    with ThreadPoolExecutor(8) as pool:
        numbers = np.random.default_rng(0).integers(0, 12, 4000).tolist()
        orders = list(pool.map(passes.order, numbers))
    assert [order.num_samples for order in orders] == [number + 1 for number in numbers]
