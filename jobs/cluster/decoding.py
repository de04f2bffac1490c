"""Decoding in Ray tasks: one item a task, in a process that may crash, hang or eat memory by itself."""

import resource
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError, TaskCancelledError, WorkerCrashedError

from pipeline.fetch import DecodeSettings, source_events
from pipeline.items import ItemEnd, ItemEvent, MediaFacts
from schemas.errors import InfrastructureError
from schemas.outcomes import Reason
from schemas.plan import PlannedSource

_STARTED = "started"
"""A task's first value: from here on its time counts, not while it waits for a CPU."""

_CLIPS_AHEAD = 2
"""Clips that a task may decode before they are taken."""

_ATTEMPTS = 2
"""A process may die through no fault of its item (a neighbour's memory, a node's end): try once more."""


def decode_task(source: PlannedSource, settings: DecodeSettings) -> Iterator[ItemEvent | str]:
    """The task's body: a mark, then the source's events under its memory limit."""
    yield _STARTED
    with _memory_limit(settings.limits.item_memory_bytes):
        yield from source_events(source, settings)


def decoded_items(
    sources: Sequence[PlannedSource], settings: DecodeSettings, *, window: int
) -> Iterator[Iterator[ItemEvent]]:
    """Events of each source in order, with ``window`` tasks under way at once."""
    waiting = deque(sources)
    running: deque[_Item] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < window:
                running.append(_Item(waiting.popleft(), settings))
            item = running[0]
            yield item.events()
            running.popleft()
    finally:
        for item in running:
            item.cancel()


class _Item:
    """One source's decoding task, and its next attempt should the process die."""

    def __init__(self, source: PlannedSource, settings: DecodeSettings) -> None:
        self._source = source
        self._settings = settings
        self._generator = self._submit(num_cpus=1)

    def _submit(self, num_cpus: int) -> Any:
        task: Any = ray.remote(decode_task)
        options = task.options(
            num_cpus=num_cpus,
            max_retries=0,
            num_returns="streaming",
            name=f"decode {self._source.uri.rsplit('/', 1)[-1]}",
            _generator_backpressure_num_objects=_CLIPS_AHEAD,
        )
        return options.remote(self._source, self._settings)

    def events(self) -> Iterator[ItemEvent]:
        """The item's events; a death or hang of the decoder becomes its end, after what came before."""
        delivered = 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                # A repeated attempt gives the same events again; those that were taken are passed over.
                for position, event in enumerate(self._attempt()):
                    if position >= delivered:
                        delivered += 1
                        yield event
                return
            except TimeoutError:
                self.cancel()
                yield _lost(
                    Reason.DECODE_TIMEOUT,
                    f"the decoder gave nothing for {self._settings.limits.item_timeout_s:g} s and was ended",
                )
                return
            except OutOfMemoryError:
                yield _lost(Reason.OUT_OF_MEMORY, "the node ran out of memory while decoding it")
                return
            except WorkerCrashedError:
                if attempt == _ATTEMPTS:
                    yield _lost(
                        Reason.DECODER_CRASHED, f"the decoder's process died in each of {_ATTEMPTS} attempts"
                    )
                    return
                # Items behind this one may hold every CPU, waiting for their clips to be taken, which
                # happens only after this one: so the second attempt must not wait for a CPU.
                self._generator = self._submit(num_cpus=0)

    def cancel(self) -> None:
        """End the task's process; a decoder that hangs in C answers to nothing less."""
        ray.cancel(self._generator, force=True)

    def _attempt(self) -> Iterator[ItemEvent]:
        timeout: float | None = None
        while True:
            ready, _ = ray.wait([self._generator], timeout=timeout, fetch_local=False)
            if not ready:
                raise TimeoutError
            try:
                value: Any = ray.get(next(self._generator))
            except StopIteration:
                return
            except TaskCancelledError as error:
                raise InfrastructureError("A decoding task was cancelled from outside.") from error
            except RayTaskError as error:
                raise error.cause from error
            if isinstance(value, str):
                timeout = self._settings.limits.item_timeout_s
            else:
                yield value


def _lost(reason: Reason, detail: str) -> ItemEnd:
    return ItemEnd(facts=MediaFacts(), reason=reason, detail=detail)


@contextmanager
def _memory_limit(limit_bytes: int) -> Generator[None]:
    """Let this process take at most ``limit_bytes`` more private memory; allocations beyond it fail.

    RLIMIT_DATA leaves shared mappings alone, so the object store's do not count.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_private_bytes() + limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
