"""Batches made ahead by threads: windows are read before they are needed, and dropped after the last use."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar
from weakref import finalize

from bitmill.pipeline.reading.order.batch_plan import Take
from bitmill.pipeline.reading.samples.windows import ShuffleWindow

Batch = TypeVar("Batch")
Key = tuple[int, int, int]

_MOST_PLANNED = 1024
"""Batches planned ahead at most, however small their windows are."""


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """How far reading runs ahead. What batches hold does not depend on it. Null takes what suits the place.

    A DataLoader's worker process runs ahead by itself, beside others that want the same cores: one of each.
    """

    batches: int | None = None
    """Batches made ahead; by default 4, and 1 in a worker process."""
    window_bytes: int | None = None
    """Codes read ahead of the batch that needs them; by default 16 MiB from local disks, 64 from stores."""
    threads: int | None = None
    """Threads that unpack; by default 2, and 1 in a worker process."""
    read_threads: int | None = None
    """Threads that read; by default 2 from local disks (1 in a worker process), and 16 where every read is a
    request to a store."""

    def chosen(self, *, local: bool, in_worker: bool) -> "ChosenPrefetch":
        """With what is left open filled in."""
        read_threads = 16 if not local else 1 if in_worker else 2
        return ChosenPrefetch(
            batches=_or(self.batches, 1 if in_worker else 4),
            window_bytes=_or(self.window_bytes, (16 if local else 64) * 2**20),
            threads=_or(self.threads, 1 if in_worker else 2),
            read_threads=_or(self.read_threads, read_threads),
        )


@dataclass(frozen=True, kw_only=True)
class ChosenPrefetch:
    """A ``Prefetch`` with nothing left open."""

    batches: int
    window_bytes: int
    threads: int
    read_threads: int


def _or(given: int | None, default: int) -> int:
    return default if given is None else given


class Prefetcher(Generic[Batch]):
    """Makes the batches of plans in order; an iterator that ends with the plans.

    ``load`` reads a take's window, ``weigh`` says its bytes before, ``make`` unpacks a batch. Raises what
    they raise, at the batch that it concerns. ``close`` ends the threads.
    """

    def __init__(
        self,
        plans: Iterator[list[Take]],
        *,
        load: Callable[[Take], ShuffleWindow],
        weigh: Callable[[Take], int],
        make: Callable[[list[Take], list[ShuffleWindow]], Batch],
        prefetch: ChosenPrefetch,
    ) -> None:
        self._plans = plans
        self._load, self._weigh, self._make = load, weigh, make
        self._prefetch = prefetch
        self._readers = ThreadPoolExecutor(prefetch.read_threads, thread_name_prefix="bitmill-read")
        self._unpackers = ThreadPoolExecutor(prefetch.threads, thread_name_prefix="bitmill-unpack")
        # At the interpreter's end, too, while the pools' module is whole.
        self._end_threads = finalize(self, _end, self._readers, self._unpackers)
        self._open: dict[Key, Future[ShuffleWindow]] = {}
        """Windows that a lane of a stream is in: those that later batches may take from."""
        self._reached: dict[tuple[int, int], Key] = {}
        """The window that each stream's each lane was in last."""
        self._planned: deque[_Planned] = deque()
        self._under_way: deque[Future[Batch]] = deque()
        self._ahead = 0
        self._ended = False

    def __iter__(self) -> "Prefetcher[Batch]":
        return self

    def __next__(self) -> Batch:
        self._plan_ahead()
        while self._planned and len(self._under_way) <= self._prefetch.batches:
            self._begin()
        if not self._under_way:
            raise StopIteration
        return self._under_way.popleft().result()

    def close(self) -> None:
        """Stop reading ahead; what is under way ends by itself."""
        self._end_threads()
        self._open.clear()
        self._planned.clear()

    def _plan_ahead(self) -> None:
        """Plan batches, and so begin reading their windows, until enough is under way."""
        while not self._ended and (
            len(self._planned) + len(self._under_way) <= self._prefetch.batches
            or (self._ahead < self._prefetch.window_bytes and len(self._planned) < _MOST_PLANNED)
        ):
            takes = next(self._plans, None)
            if takes is None:
                self._ended = True
                self._open.clear()
            else:
                self._plan(takes)

    def _plan(self, takes: list[Take]) -> None:
        """Find or begin to read the batch's windows.

        Lanes only go forward: a window that all have left is not needed by later batches. It goes when the
        last batch that was planned with it has been made, and with it the last reference. A lane may pass
        over some batches, where its stream has a small weight: its window stays.
        """
        windows: list[Future[ShuffleWindow]] = []
        added = 0
        moved = False
        for take in takes:
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
        for key in self._open.keys() - self._reached.values() if moved else ():
            del self._open[key]
        self._planned.append(_Planned(takes, windows, added))
        self._ahead += added

    def _begin(self) -> None:
        planned = self._planned.popleft()
        self._ahead -= planned.num_bytes
        self._under_way.append(self._unpackers.submit(self._made, planned))

    def _made(self, planned: "_Planned") -> Batch:
        return self._make(planned.takes, [window.result() for window in planned.windows])


def _end(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)


class _Planned(NamedTuple):
    """A batch whose windows are being read; ``num_bytes`` of them for it first."""

    takes: list[Take]
    windows: list[Future[ShuffleWindow]]
    num_bytes: int
