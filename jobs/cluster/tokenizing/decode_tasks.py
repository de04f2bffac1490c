"""Decoding in Ray tasks: one source a task, in a process that may crash, hang or eat memory by itself."""

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
from bitmill.pipeline.decode.pixels.planes import make_ready
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.isolation.small_sources import Bundle, Message, bundle_messages
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events, source_room
from bitmill.pipeline.items import ItemEnd, ItemStart, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BitmillError, InfrastructureError
from bitmill.schemas.outcomes import Reason

_STARTED = "started"
"""A task's first value: from here on its time counts, not while it waits for a CPU, or room for a copy."""

SLOWEST_TRANSFER_BYTES_PER_S = 1_000_000
"""A source is copied from its store at least at this rate, or its time is over."""

GET_S = 60.0
"""Values that are said to be ready are here sooner than that, or the node that holds them is out of reach."""

_BEAT_S = 5.0
"""While it waits for a decoder, whose deadline it keeps, the actor shows at least so often that it lives."""

_ATTEMPTS = 2
"""A process may die through no fault of its item (a neighbour's memory): try once more."""

_LOSSES = 5
"""Nodes and connections may be lost under an item this often before the shard is given up."""


def decode_task(
    sources: Sequence[PlannedSource], settings: DecodeSettings, skip_items: int, instead: ItemEnd | None
) -> Iterator[SourceEvent | Staged | str | Message]:
    """The task's body: a mark, then the source's events, each item under its own memory limit; of several
    sources a bundle's messages."""
    # Not at the first item's cost, in time or memory.
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


# One remote function for all sources: Ray queues by function, and only within one queue is an owner's
# earliest task the first to run. The source whose turn it is must never wait for a CPU behind those that
# follow it, which hold theirs until their clips are taken.
_DECODE: Any = ray.remote(decode_task)


def decode_options(
    *, num_cpus: int, placement: "TaskPlacement", source: PlannedSource, values: int | None = None
) -> Any:
    """The remote function with its options; ``source`` is what it is named by. It halts at so many ``values``
    that are not taken yet; without, at the placement's."""
    return _DECODE.options(
        num_cpus=num_cpus,
        max_retries=0,
        num_returns="streaming",
        _generator_backpressure_num_objects=placement.values if values is None else values,
        **placement.options(source),
    )


@dataclass(frozen=True, kw_only=True)
class TaskPlacement:
    """Where an actor's decoding tasks run, what they are called, and how far they may run ahead.

    One place for all, since Ray queues by it, too: see above.
    """

    name: str
    node_id: str
    values: int = LEAST_VALUES
    """See DecodeWindowSize."""

    @classmethod
    def near_here(cls, *, name: str) -> "TaskPlacement":
        """Near the actor that asks: on its node while that has a free CPU, else wherever there is one."""
        return cls(name=name, node_id=ray.get_runtime_context().get_node_id())

    def options(self, source: PlannedSource) -> dict[str, Any]:
        """Options of a remote function."""
        near = NodeAffinitySchedulingStrategy(self.node_id, soft=True, _spill_on_unavailable=True)
        return {"scheduling_strategy": near, "name": f"{self.name} decode {source.uri.rsplit('/', 1)[-1]}"}


class SourceTask:
    """One source's decoding task, and its next attempt should the process or its node die.

    ``beat`` is called for all that comes, and now and then while something is waited for. ``taken`` events of
    its first item are known already and do not come again.
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
        """Events of the item that is under way."""
        self._deaths = self._losses = 0
        """Under that item."""
        self._instead: ItemEnd | None = None
        """How that item ends, where it brought the decoder down before it was known which one it is."""
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
        """The source's events; a death or hang of the decoder ends the item under way, after what came
        before it, and decoding goes on with the next one, if the source is an archive.

        Raises InfrastructureError where the cluster loses the task time and again.
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
                # What is out of reach may go on there.
                self.cancel()
                self._losses += 1
                if self._losses == _LOSSES:
                    raise InfrastructureError(
                        f"The cluster lost the decoding of {self.source.uri} {_LOSSES} times "
                        f"({type(error).__name__}); run the same command again to resume."
                    ) from error
            except TimeoutError:
                self.cancel()
                seconds = self._settings.limits.item_timeout_s
                detail = f"The decoder gave nothing for {seconds:g} s and was ended."
                trouble = ItemEnd.unread(Reason.DECODE_TIMEOUT, detail)
            if trouble is not None:
                yield from self._skipped(trouble)
            if self._is_over:
                return
            # Sources behind this one may hold every CPU, waiting for their clips to be taken, which
            # happens only after this one: so another attempt must not wait for a CPU. It halts until each
            # value is taken: what a process gave just before it died may be lost, and an item before the
            # one that brings it down would get the blame.
            self._submit(num_cpus=0, values=1)

    def _new_events(self) -> Iterator[SourceEvent]:
        """Events of one attempt. A repeated one gives those of the item under way again; what was taken of
        them is passed over."""
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
            raise InfrastructureError(f"Decoding of {self.source.uri} stopped without an end.")
        self._is_over = True

    def _skipped(self, end: ItemEnd) -> Iterator[SourceEvent]:
        """End the item under way.

        What a process gives just before it dies may be lost, and so an item of an archive may be unknown: the
        next attempt names it, without decoding it. Where that fails, too, the archive's rest is missing.
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
        """End the task's process; a decoder that hangs in C answers to nothing less."""
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
    """What a decoding task gives next, waited for without limit where there is none, as before it starts.

    Raises StopIteration, TimeoutError, and what Ray raises: GetTimeoutError, which is a RayError, too, where
    a value cannot be fetched. Ray itself may wait ten minutes for one whose node was lost, or for ever.
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
