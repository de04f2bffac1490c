"""Decodes sources in Ray tasks, one source per task, which isolates crashes, hangs and memory use."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bitmill.jobs.scheduling.autoscaling import LEAST_VALUES
from bitmill.pipeline.archive.tar_events import whole_archive
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.isolation.source_bundles import Bundle, Message, bundle_messages
from bitmill.pipeline.isolation.source_events import (
    DecodeSettings,
    Staged,
    make_ready,
    source_events,
    source_room,
)
from bitmill.pipeline.items import ItemEnd, ItemStart, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BitmillError, InfrastructureError
from bitmill.schemas.outcomes import Reason

_STARTED = "started"
"""A task's first output; its timeout starts here, after waiting for a CPU or for room for a copy."""

SLOWEST_TRANSFER_BYTES_PER_S = 1_000_000
"""Minimum rate of copying a source from its store; a slower copy times out."""

GET_S = 60.0
"""Timeout of fetching a ready output; after it, the node that has it counts as unreachable."""

_BEAT_S = 5.0
"""Heartbeat interval of an actor that waits for a decoder; the actor enforces the decoder's timeout."""

_ATTEMPTS = 2
"""A process may die through no fault of its item (another process used up the memory), so retry once."""

_LOSSES = 5
"""Lost nodes or connections per item after which the shard fails."""


def decode_task(
    sources: Sequence[PlannedSource], settings: DecodeSettings, skip_items: int, instead: ItemEnd | None
) -> Iterator[SourceEvent | Staged | str | Message]:
    """The task's body: yields a mark, then the source's events, with a memory limit per item.

    For several sources, yields a bundle's messages.
    """
    # Done first, so as not to count against the first item's time and memory.
    make_ready()
    if len(sources) > 1:
        with memory_limit(settings.limits.item_memory_bytes) as count_anew:
            yield from bundle_messages(Bundle(tuple(sources)), settings, count_anew)
        return
    (source,) = sources
    with source_room(source, settings) as room:
        yield _STARTED
        with memory_limit(settings.limits.item_memory_bytes) as count_anew:
            for event in source_events(source, settings, skip_items=skip_items, instead=instead, room=room):
                if isinstance(event, ItemStart):
                    count_anew()
                yield event


# One remote function for all sources: Ray queues tasks by function, and runs an owner's earliest task first
# only within one queue. The next source must never wait for a CPU behind later ones, which hold theirs until
# their clips are read.
_DECODE: Any = ray.remote(decode_task)


def decode_options(
    *, num_cpus: int, placement: "TaskPlacement", source: PlannedSource, values: int | None = None
) -> Any:
    """Returns the remote function with its options; ``source`` names the task.

    ``values`` bounds its unread outputs; the default is the placement's limit.
    """
    return _DECODE.options(
        num_cpus=num_cpus,
        max_retries=0,
        num_returns="streaming",
        _generator_backpressure_num_objects=placement.values if values is None else values,
        **placement.options(source),
    )


@dataclass(frozen=True, kw_only=True)
class TaskPlacement:
    """Placement, names and output limits of an actor's decoding tasks.

    All tasks of an actor share one placement, since Ray queues by placement, too: see above.
    """

    name: str
    node_id: str
    values: int = LEAST_VALUES
    """See DecodeWindowSize."""

    @classmethod
    def near_here(cls, *, name: str) -> "TaskPlacement":
        """Prefer the calling actor's node while it has a free CPU, else any node."""
        return cls(name=name, node_id=ray.get_runtime_context().get_node_id())

    def options(self, source: PlannedSource) -> dict[str, Any]:
        """Returns the options of the remote function."""
        near = NodeAffinitySchedulingStrategy(self.node_id, soft=True, _spill_on_unavailable=True)
        return {"scheduling_strategy": near, "name": f"{self.name} decode {source.uri.rsplit('/', 1)[-1]}"}


class SourceTask:
    """One source's decoding task, retried if its process or node dies.

    ``beat`` is called for each output, and periodically while waiting. The first ``taken`` events of the
    first item are skipped, as they are known already.
    """

    def __init__(
        self,
        source: PlannedSource,
        settings: DecodeSettings,
        placement: TaskPlacement,
        beat: Callable[[], None],
        *,
        taken: int = 0,
        num_cpus: int = 1,
    ) -> None:
        self.source = source
        self._settings = settings
        self._ended_items = 0
        self._taken = taken
        """Events read of the current item."""
        self._deaths = self._losses = 0
        """While decoding that item."""
        self._instead: ItemEnd | None = None
        """The end of that item, if it killed the decoder before its name was known."""
        self._is_over = False
        self._placement = placement
        self._heartbeat = beat
        self._submit(num_cpus)

    def _submit(self, num_cpus: int, values: int | None = None) -> None:
        options = decode_options(
            num_cpus=num_cpus, placement=self._placement, source=self.source, values=values
        )
        sources = (self.source,)
        self._generator: Any = options.remote(sources, self._settings, self._ended_items, self._instead)

    def events(self) -> Iterator[SourceEvent]:
        """Yields the source's events.

        If the decoder dies or hangs, the current item ends after the events already read, and an archive
        continues with its next item.

        Raises InfrastructureError if the cluster loses the task repeatedly.
        """
        while True:
            trouble: ItemEnd | None = None
            try:
                yield from self._new_events()
            except (WorkerCrashedError, OutOfMemoryError) as error:
                self._deaths += 1
                if self._deaths == _ATTEMPTS:
                    trouble = _death(error)
            except RayError as error:
                # An unreachable task may still be running there.
                self.cancel()
                self._losses += 1
                if self._losses == _LOSSES:
                    raise InfrastructureError(
                        f"The cluster lost the decoding task of {self.source.uri} {_LOSSES} times "
                        f"({type(error).__name__}); run the same command again to resume."
                    ) from error
            except TimeoutError:
                self.cancel()
                seconds = self._settings.limits.item_timeout_s
                detail = f"The decoder made no progress for {seconds:g} s and was stopped."
                trouble = ItemEnd.unread(Reason.DECODE_TIMEOUT, detail)
            if trouble is not None:
                yield from self._skipped(trouble)
            if self._is_over:
                return
            # Later sources may hold every CPU until their clips are read, which happens only after this one:
            # so a retry must not wait for a CPU. It pauses until each output is read: outputs from just
            # before a crash may be lost, and then an earlier item would be blamed for it.
            self._submit(num_cpus=0, values=1)

    def _new_events(self) -> Iterator[SourceEvent]:
        """Yields one attempt's new events; skips known ones of the current item, which a retry repeats."""
        position = 0
        for event in self._attempt():
            position += 1
            if isinstance(event, ItemEnd):
                position = 0
                self._close_item()
                yield event
                if not self.source.is_archive:
                    break
            elif position > self._taken:
                self._taken += 1
                yield event
        if self._taken or not self._ended_items:
            raise InfrastructureError(f"Decoding of {self.source.uri} stopped without an end event.")
        self._is_over = True

    def _skipped(self, end: ItemEnd) -> Iterator[SourceEvent]:
        """End the current item.

        Outputs from just before a crash may be lost, so that an archive's current item may be unknown: the
        next attempt names it without decoding it. If that fails too, the rest of the archive is missing.
        """
        is_known = self._taken > 0 or not self.source.is_archive
        if not is_known and self._instead is None:
            self._instead = end
            self._deaths = self._losses = 0
            return
        self._is_over = not (is_known and self.source.is_archive)
        if is_known:
            yield end
        else:
            yield from whole_archive(self.source, end)
        self._close_item()

    def _close_item(self) -> None:
        self._ended_items += 1
        self._taken = self._deaths = self._losses = 0
        self._instead = None

    def cancel(self) -> None:
        """Kill the task's process; nothing less stops a decoder that hangs in C code."""
        ray.cancel(self._generator, force=True)

    def _attempt(self) -> Iterator[SourceEvent]:
        timeout: float | None = None
        limit_s = self._settings.limits.item_timeout_s
        while True:
            try:
                value = next_value(self._generator, timeout, self._heartbeat)
            except StopIteration:
                return
            except RayTaskError as error:
                _raise_cause(error)
            if isinstance(value, Staged):
                timeout = limit_s
            elif isinstance(value, str):
                timeout = limit_s + self.source.size_bytes / SLOWEST_TRANSFER_BYTES_PER_S
            else:
                yield value


def next_value(generator: Any, timeout_s: float | None, beat: Callable[[], None]) -> Any:
    """Returns a decoding task's next output; waits forever if ``timeout_s`` is None, as before it starts.

    Raises StopIteration, TimeoutError, and Ray's errors, such as GetTimeoutError (a RayError) if an output
    cannot be fetched. Ray itself may wait ten minutes, or forever, for one whose node was lost.
    """
    end = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = max(0.0, end - time.monotonic())
        ready, _ = ray.wait([generator], timeout=min(_BEAT_S, left), fetch_local=False)
        beat()
        if ready:
            return ray.get(next(generator), timeout=GET_S)
        if left <= _BEAT_S:
            raise TimeoutError


def _raise_cause(error: RayTaskError) -> NoReturn:
    """Raise a task's own error: a RayError or BitmillError unwrapped, others as their cause."""
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
