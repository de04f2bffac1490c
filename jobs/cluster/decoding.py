"""Decoding in Ray tasks: one item a task, in a process that may crash, hang or eat memory by itself."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.fetch import DecodeSettings, Staged, source_events
from pipeline.items import ItemEnd, ItemEvent
from pipeline.memory_limit import memory_limit
from schemas.errors import BitmillError, InfrastructureError
from schemas.outcomes import Reason
from schemas.plan import PlannedSource

_STARTED = "started"
"""A task's first value: from here on its time counts, not while it waits for a CPU."""

_VALUES_AHEAD = 4
"""Values that a task may give before they are taken: its two marks and the first clips."""

_SLOWEST_TRANSFER_BYTES_PER_S = 1_000_000
"""A source is copied from its store at least at this rate, or its time is over."""

_BEAT_S = 5.0
"""While it waits for a decoder, whose deadline it keeps, the actor shows at least so often that it lives."""

_ATTEMPTS = 2
"""A process may die through no fault of its item (a neighbour's memory): try once more."""

_LOSSES = 5
"""Nodes and connections may be lost under an item this often before the shard is given up."""


def decode_task(source: PlannedSource, settings: DecodeSettings) -> Iterator[ItemEvent | Staged | str]:
    """The task's body: a mark, then the source's events under its memory limit."""
    yield _STARTED
    with memory_limit(settings.limits.item_memory_bytes):
        yield from source_events(source, settings)


# One remote function for all items: Ray queues by function, and only within one queue is an owner's earliest
# task the first to run. The item whose turn it is must never wait for a CPU behind those that follow it,
# which hold theirs until their clips are taken.
_DECODE: Any = ray.remote(decode_task)


@dataclass(frozen=True, kw_only=True)
class TaskPlacement:
    """Where an actor's decoding tasks run, and what they are called.

    One placement for all, since Ray queues by it, too: see above.
    """

    name: str
    node_id: str

    @classmethod
    def near_here(cls, *, name: str) -> "TaskPlacement":
        """Near the actor that asks: on its node while that has a free CPU, else wherever there is one."""
        return cls(name=name, node_id=ray.get_runtime_context().get_node_id())

    def options(self, source: PlannedSource) -> dict[str, Any]:
        """Options of a remote function."""
        near = NodeAffinitySchedulingStrategy(self.node_id, soft=True, _spill_on_unavailable=True)
        return {"scheduling_strategy": near, "name": f"{self.name} decode {source.uri.rsplit('/', 1)[-1]}"}


class ItemTask:
    """One source's decoding task, and its next attempt should the process or its node die.

    ``beat`` is called for all that comes, and now and then while something is waited for.
    """

    def __init__(
        self,
        source: PlannedSource,
        settings: DecodeSettings,
        placement: TaskPlacement,
        beat: Callable[[], None],
    ) -> None:
        self._source = source
        self._settings = settings
        self._placement = placement
        self._beat = beat
        self._submit(num_cpus=1)

    def _submit(self, num_cpus: int) -> None:
        options = _DECODE.options(
            num_cpus=num_cpus,
            max_retries=0,
            num_returns="streaming",
            _generator_backpressure_num_objects=_VALUES_AHEAD,
            **self._placement.options(self._source),
        )
        self._generator: Any = options.remote(self._source, self._settings)

    def events(self) -> Iterator[ItemEvent]:
        """The item's events; a death or hang of the decoder becomes its end, after what came before.

        Raises InfrastructureError where the cluster loses the task time and again.
        """
        delivered = deaths = losses = 0
        while True:
            try:
                # A repeated attempt gives the same clips again; those that were taken are passed over.
                for position, event in enumerate(self._attempt()):
                    if isinstance(event, ItemEnd):
                        yield event
                        return
                    if position >= delivered:
                        delivered += 1
                        yield event
                raise InfrastructureError(f"Decoding of {self._source.uri} stopped without an end.")
            except TimeoutError:
                self.cancel()
                seconds = self._settings.limits.item_timeout_s
                detail = f"The decoder gave nothing for {seconds:g} s and was ended."
                yield ItemEnd.unread(Reason.DECODE_TIMEOUT, detail)
                return
            except (WorkerCrashedError, OutOfMemoryError) as error:
                deaths += 1
                if deaths == _ATTEMPTS:
                    yield _death(error)
                    return
            except RayError as error:
                losses += 1
                if losses == _LOSSES:
                    raise InfrastructureError(
                        f"The cluster lost the decoding of {self._source.uri} {_LOSSES} times "
                        f"({type(error).__name__}); run the same command again to resume."
                    ) from error
            # Items behind this one may hold every CPU, waiting for their clips to be taken, which
            # happens only after this one: so another attempt must not wait for a CPU.
            self._submit(num_cpus=0)

    def cancel(self) -> None:
        """End the task's process; a decoder that hangs in C answers to nothing less."""
        ray.cancel(self._generator, force=True)

    def _attempt(self) -> Iterator[ItemEvent]:
        timeout: float | None = None
        limit_s = self._settings.limits.item_timeout_s
        while True:
            if not self._wait(timeout):
                raise TimeoutError
            try:
                value: Any = ray.get(next(self._generator))
            except StopIteration:
                return
            except RayTaskError as error:
                _raise_cause(error)
            if isinstance(value, Staged):
                timeout = limit_s
            elif isinstance(value, str):
                timeout = limit_s + self._source.size_bytes / _SLOWEST_TRANSFER_BYTES_PER_S
            else:
                yield value

    def _wait(self, timeout_s: float | None) -> bool:
        """Whether the task gives something in time; without a limit, as long as it waits for a CPU."""
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = max(0.0, end - time.monotonic())
            ready, _ = ray.wait([self._generator], timeout=min(_BEAT_S, left), fetch_local=False)
            self._beat()
            if ready or left <= _BEAT_S:
                return bool(ready)


def _raise_cause(error: RayTaskError) -> NoReturn:
    """A task that raised, rather than died: a loss of Ray's goes on as such, anything else as it was."""
    cause = error.cause
    if isinstance(cause, (RayError, BitmillError)):
        raise cause from None
    raise cause from error


def _death(error: RayError) -> ItemEnd:
    if isinstance(error, OutOfMemoryError):
        detail = f"The node ran out of memory while decoding it, in each of {_ATTEMPTS} attempts."
        return ItemEnd.unread(Reason.OUT_OF_MEMORY, detail)
    detail = f"The decoder's process died in each of {_ATTEMPTS} attempts."
    return ItemEnd.unread(Reason.DECODER_CRASHED, detail)
