"""Prefetches batches in threads: reads windows before they are needed and drops them after their last use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from weakref import finalize

from bitmill.pipeline.reading.order.batch_plan import BatchPlan, Take
from bitmill.pipeline.reading.samples.shuffle_window import ShuffleWindow, Windows
from bitmill.schemas.errors import WrongArgumentError

Batch = TypeVar("Batch")
Key = tuple[int, int, int]

_MOST_PLANNED = 1024
"""Maximum number of batches planned ahead, however small their windows are."""


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """How far to read ahead; does not affect the contents of batches. None selects a suitable default.

    A DataLoader worker process runs ahead by itself and shares the cores with others, so it defaults to 1
    each.
    """

    batches: int | None = None
    """Batches made ahead; default 4, and 1 in a worker process."""
    window_bytes: int | None = None
    """Bytes of codes read ahead of the batch that needs them; default 16 MiB from local disks, 64 from
    stores."""
    threads: int | None = None
    """Threads that unpack; default 2, and 1 in a worker process."""
    read_threads: int | None = None
    """Threads that read; default 2 from local disks (1 in a worker process), and 16 from stores, where every
    read is a request."""

    def __post_init__(self) -> None:
        for name, least in (("batches", 0), ("window_bytes", 0), ("threads", 1), ("read_threads", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise WrongArgumentError(f"Prefetch: {name} must be at least {least}, not {value}.")

    def chosen(self, *, local: bool, in_worker: bool) -> "ChosenPrefetch":
        """Return these settings with None replaced by defaults."""
        read_threads = 16 if not local else 1 if in_worker else 2
        return ChosenPrefetch(
            batches=_or(self.batches, 1 if in_worker else 4),
            window_bytes=_or(self.window_bytes, (16 if local else 64) * 2**20),
            threads=_or(self.threads, 1 if in_worker else 2),
            read_threads=_or(self.read_threads, read_threads),
        )


@dataclass(frozen=True, kw_only=True)
class ChosenPrefetch:
    """A ``Prefetch`` with every field set."""

    batches: int
    window_bytes: int
    threads: int
    read_threads: int


def _or(given: int | None, default: int) -> int:
    return default if given is None else given


class Prefetcher(Iterator[Batch]):
    """Iterator that makes the batches of plans in order and ends with the plans.

    ``load`` reads a take's window, ``weigh`` returns its bytes in advance, ``make`` unpacks a batch. Their
    exceptions are raised at the batch concerned. ``close`` ends the threads.
    """

    def __init__(
        self,
        plans: Iterator[BatchPlan],
        *,
        load: Callable[[Take], ShuffleWindow],
        weigh: Callable[[Take], int],
        make: Callable[[BatchPlan, Windows], Batch],
        prefetch: ChosenPrefetch,
    ) -> None:
        self._plans = plans
        self._load, self._weigh, self._make = load, weigh, make
        self._prefetch = prefetch
        self._readers = ThreadPoolExecutor(prefetch.read_threads, thread_name_prefix="bitmill-read")
        self._unpackers = ThreadPoolExecutor(prefetch.threads, thread_name_prefix="bitmill-unpack")
        # Also at interpreter exit, while the thread pools' module still exists.
        self._end_threads = finalize(self, _end, self._readers, self._unpackers)
        self._open: dict[Key, Future[ShuffleWindow]] = {}
        """Windows that some lane of a stream is currently in: later batches may take from them."""
        self._reached: dict[tuple[int, int], Key] = {}
        """The last window of each (stream, lane)."""
        self._needed: frozenset[int] | None = None
        self._takes: list[Take] | None = None
        self._windows = _Windows([])
        """Those of ``_takes``, the takes of the batch planned last."""
        self._planned: deque[_Planned] = deque()
        self._under_way: deque[Future[Batch]] = deque()
        self._ahead = 0
        self._ended = False

    def __next__(self) -> Batch:
        self._plan_ahead()
        while self._planned and len(self._under_way) <= self._prefetch.batches:
            planned = self._planned.popleft()
            self._ahead -= planned.num_bytes
            self._under_way.append(self._unpackers.submit(self._made, planned))
        if not self._under_way:
            raise StopIteration
        return self._under_way.popleft().result()

    def close(self) -> None:
        """Stop reading ahead; running tasks finish by themselves."""
        self._end_threads()
        self._forget()
        self._planned.clear()

    def _forget(self) -> None:
        self._open.clear()
        self._takes, self._windows = None, _Windows([])

    def _plan_ahead(self) -> None:
        """Plan batches, which starts reading their windows, until enough are in progress."""
        while not self._ended and (
            len(self._planned) + len(self._under_way) <= self._prefetch.batches
            or (self._ahead < self._prefetch.window_bytes and len(self._planned) < _MOST_PLANNED)
        ):
            plan = next(self._plans, None)
            if plan is None:
                self._ended = True
                self._forget()
            elif plan.takes is self._takes:
                self._planned.append(_Planned(plan, self._windows, 0))
            else:
                self._plan(plan)

    def _plan(self, plan: BatchPlan) -> None:
        """Look up the batch's windows, or start reading them.

        Lanes only go forward, so later batches do not need a window that all lanes have left. Its last
        reference goes when the last batch planned with it has been made. A lane whose stream has a small
        weight may skip some batches; its window is kept.
        """
        windows: list[Future[ShuffleWindow]] = []
        added = 0
        moved = False
        for take in plan.takes:
            key = (take.stream, take.pass_number, take.window)
            window = self._open.get(key)
            if window is None:
                window = self._open[key] = self._readers.submit(self._load, take)
                added += self._weigh(take)
            lane = (take.stream, take.lane)
            if self._reached.get(lane) != key:
                self._reached[lane] = key
                moved = True
            windows.append(window)
        for key in self._left(plan, moved=moved):
            del self._open[key]
        self._takes, self._windows = plan.takes, _Windows(windows)
        self._planned.append(_Planned(plan, self._windows, added))
        self._ahead += added

    def _left(self, plan: BatchPlan, *, moved: bool) -> Iterable[Key]:
        """The open windows that no batch after this one needs."""
        if plan.needed is None:
            return self._open.keys() - self._reached.values() if moved else ()
        if plan.needed is self._needed:
            return ()
        self._needed = plan.needed
        return [key for key in self._open if key[2] not in plan.needed]

    def _made(self, planned: "_Planned") -> Batch:
        return self._make(planned.plan, planned.windows.read())


def _end(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)


class _Windows:
    """The windows of a batch's takes, which are being read."""

    def __init__(self, under_way: list[Future[ShuffleWindow]]) -> None:
        self._under_way = under_way
        self._read: Windows | None = None

    def read(self) -> Windows:
        """Wait for them. Safe for threads: at worst, two of them make the same list."""
        if self._read is None:
            self._read = Windows(window.result() for window in self._under_way)
        return self._read


class _Planned(NamedTuple):
    """A batch whose windows are being read; ``num_bytes`` counts the windows first needed by it."""

    plan: BatchPlan
    windows: _Windows
    num_bytes: int
