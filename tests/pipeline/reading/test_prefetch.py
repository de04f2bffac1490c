"""Reading ahead: batches in order with their own windows, each read once, kept as long as a lane is in it."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.order.batch_plan import BatchPlan, Take
from bitmill.pipeline.reading.prefetch import ChosenPrefetch, Prefetch, Prefetcher
from bitmill.schemas.errors import FormatError


class Read:
    """What stands for a window in memory."""

    def __init__(self, name: tuple[int, int]) -> None:
        self.name = name


def take(window: int, *, stream: int = 0, lane: int = 0, place: int = 0) -> Take:
    return Take(stream, 0, window, 0, 1, place, True, lane)


def names(takes: Sequence[Take]) -> list[tuple[int, int]]:
    return [(one.stream, one.window) for one in takes]


class Reader:
    """Counts what is read, and remembers what is still in memory."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.loads: Counter[tuple[int, int]] = Counter()
        self.alive: weakref.WeakSet[Read] = weakref.WeakSet()
        self.fails_at = fails_at
        self.lock = threading.Lock()

    def load(self, one: Take) -> Read:
        if one.window == self.fails_at:
            raise FormatError(f"window {one.window} is damaged")
        read = Read((one.stream, one.window))
        with self.lock:
            self.loads[read.name] += 1
            self.alive.add(read)
        return read

    def over(
        self,
        plans: Iterator[list[Take]],
        *,
        make: Callable[[list[Take], list[Read]], object] | None = None,
        **prefetch: int,
    ) -> Prefetcher:
        def check(takes: list[Take], windows: list[Read]) -> list[tuple[int, int]]:
            assert [window.name for window in windows] == names(takes)
            return names(takes)

        settings = ChosenPrefetch(
            **{"batches": 2, "window_bytes": 4, "threads": 2, "read_threads": 2} | prefetch
        )
        taken = make or check
        return Prefetcher(
            (BatchPlan(takes) for takes in plans),
            load=self.load,
            weigh=lambda _: 1,
            make=lambda plan, windows: taken(plan.takes, windows),
            prefetch=settings,
        )


@st.composite
def lanes(draw: st.DrawFn, *, shared: bool) -> list[list[Take]]:
    """Batches of lanes that go forward, each at its own pace, some of which pass over some batches."""
    at: dict[tuple[int, int], int] = {}
    plans: list[list[Take]] = []
    count = draw(st.integers(1, 3))
    for _ in range(draw(st.integers(0, 20))):
        takes: list[Take] = []
        for lane in range(count):
            stream = 0 if shared else lane
            for _ in range(draw(st.integers(0, 2))):
                at[stream, lane] = at.get((stream, lane), 0) + draw(st.integers(0, 1))
                takes.append(take(at[stream, lane], stream=stream, lane=lane, place=len(takes)))
        plans.append(takes)
    return plans


AHEAD = st.fixed_dictionaries(
    {
        "batches": st.integers(0, 5),
        "window_bytes": st.integers(1, 20),
        "threads": st.integers(1, 4),
        "read_threads": st.integers(1, 4),
    }
)


@settings(max_examples=60)
@given(plans=lanes(shared=False), ahead=AHEAD)
def test_batches_come_in_order_and_each_window_is_read_once(plans, ahead):
    reader = Reader()
    prefetcher = reader.over(iter(plans), **ahead)
    assert list(prefetcher) == [names(takes) for takes in plans]
    prefetcher.close()
    assert all(count == 1 for count in reader.loads.values())


@settings(max_examples=30)
@given(plans=lanes(shared=True), ahead=AHEAD)
def test_lanes_share_a_window_that_they_are_in_at_once(plans, ahead):
    reader = Reader()
    prefetcher = reader.over(iter(plans), **ahead)
    assert list(prefetcher) == [names(takes) for takes in plans]
    prefetcher.close()
    most = len({one.lane for takes in plans for one in takes})
    assert all(count <= most for count in reader.loads.values())


def test_a_lane_that_passes_over_batches_keeps_its_window():
    """A dataset of small weight gives a sample now and then."""
    often = [take(number, stream=0) for number in range(40)]
    plans = [[one, take(0, stream=1, lane=0, place=1)] if one.window % 13 == 0 else [one] for one in often]
    reader = Reader()
    prefetcher = reader.over(iter(plans))
    assert list(prefetcher) == [names(takes) for takes in plans]
    assert reader.loads[1, 0] == 1
    prefetcher.close()


def test_a_window_that_all_lanes_have_left_is_dropped():
    plans = [[take(number), take(number // 10, stream=1, place=1)] for number in range(25)]
    reader = Reader()
    prefetcher = reader.over(iter(plans), batches=1, window_bytes=1)
    # Each collection would look through all that tests before have left.
    gc.freeze()
    for number, _ in enumerate(prefetcher):
        gc.collect()
        # One of each stream for each of few batches that are planned, under way or just handed over.
        assert len(reader.alive) <= 8
        assert all(read.name[1] >= number - 2 for read in reader.alive if read.name[0] == 0)
    prefetcher.close()


def test_reading_runs_ahead_as_far_as_it_is_told_and_no_further():
    begun: list[int] = []
    for bytes_ahead, batches, most in ((1, 0, 2), (1, 3, 5), (10, 0, 12), (10, 3, 15)):
        reader = Reader()
        planned = []

        def plans(planned=planned) -> Iterator[list[Take]]:
            for number in range(100):
                planned.append(number)
                yield [take(number)]

        prefetcher = reader.over(plans(), batches=batches, window_bytes=bytes_ahead)
        next(prefetcher)
        assert max(batches, bytes_ahead) <= len(planned) <= most
        begun.append(len(planned))
        prefetcher.close()
    assert begun == sorted(begun)


def test_what_reading_raises_comes_at_its_batch():
    reader = Reader(fails_at=5)
    prefetcher = reader.over(iter([[take(number)] for number in range(9)]))
    assert [next(prefetcher) for _ in range(5)] == [[(0, number)] for number in range(5)]
    with pytest.raises(FormatError, match="window 5 is damaged"):
        next(prefetcher)
    prefetcher.close()


def test_what_making_raises_comes_at_its_batch():
    def make(takes: list[Take], windows: list[Read]) -> int:
        return 10 // (3 - takes[0].window)

    prefetcher = Reader().over(iter([[take(number)] for number in range(6)]), make=make)
    assert [next(prefetcher) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError, match="integer division or modulo by zero"):
        next(prefetcher)
    prefetcher.close()


def test_an_empty_plan_has_no_batches():
    prefetcher = Reader().over(iter([]))
    assert list(prefetcher) == []
    prefetcher.close()


def test_a_batch_without_samples_is_one_all_the_same():
    prefetcher = Reader().over(iter([[], [take(0)], []]))
    assert list(prefetcher) == [[], [(0, 0)], []]
    prefetcher.close()


def test_what_is_left_to_the_kind_of_store():
    def choose(prefetch: Prefetch, *, local: bool, in_worker: bool) -> tuple[int, ...]:
        chosen = prefetch.chosen(local=local, in_worker=in_worker)
        return chosen.batches, chosen.window_bytes, chosen.threads, chosen.read_threads

    assert choose(Prefetch(), local=True, in_worker=False) == (4, 16 * 2**20, 2, 2)
    assert choose(Prefetch(), local=True, in_worker=True) == (1, 16 * 2**20, 1, 1)
    assert choose(Prefetch(), local=False, in_worker=False) == (4, 64 * 2**20, 2, 16)
    assert choose(Prefetch(), local=False, in_worker=True) == (1, 64 * 2**20, 1, 16)
    own = Prefetch(batches=0, window_bytes=0, threads=3, read_threads=7)
    for local in (True, False):
        for in_worker in (True, False):
            assert choose(own, local=local, in_worker=in_worker) == (0, 0, 3, 7)
