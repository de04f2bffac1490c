"""Decodes several small sources in one Ray task; if it dies or hangs, the current source is retried alone."""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from bitmill.jobs.cluster.tokenizing.decode_tasks import (
    SLOWEST_TRANSFER_BYTES_PER_S,
    SourceTask,
    TaskPlacement,
    decode_options,
    next_value,
)
from bitmill.pipeline.isolation.source_bundles import MESSAGE_S, Bundle, Message, Waiting
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged
from bitmill.pipeline.items import ItemEnd, SourceEvent
from bitmill.pipeline.span_bytes import object_bytes
from bitmill.schemas.dataset.plan_schema import PlannedSource

_ATTEMPTS = 3
"""Attempts to decode sources together before the rest is decoded one by one."""


class BundleTask:
    """Like SourceTask, for several sources that are not archives; ``events`` yields them source by source.

    A crash or hang of the bundle's process does not blame any source: the first unfinished one is decoded
    again by a SourceTask, whose result counts, and then the rest together again; after repeated failures,
    each alone.
    """

    def __init__(
        self, bundle: Bundle, settings: DecodeSettings, placement: TaskPlacement, beat: Callable[[], None]
    ) -> None:
        self._sources = bundle.sources
        self._settings = settings
        self._placement = placement
        self._heartbeat = beat
        self._alone: SourceTask | None = None
        self._submit(bundle.sources, num_cpus=1)

    def _submit(self, sources: tuple[PlannedSource, ...], *, num_cpus: int) -> None:
        options = decode_options(num_cpus=num_cpus, placement=self._placement, source=sources[0])
        self._generator: Any = options.remote(sources, self._settings, 0, None)

    def events(self) -> Iterator[SourceEvent]:
        """Yields the events of all sources. Raises the errors of SourceTask."""
        left = self._sources
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Later bundles may hold every CPU.
                self._submit(left, num_cpus=0)
            ended, taken = yield from self._together(left)
            left = left[ended:]
            if not left:
                return
            self.cancel()
            yield from self._by_itself(left[0], taken)
            left = left[1:]
            if len(left) < 2:
                break
        for source in left:
            yield from self._by_itself(source, 0)

    def _together(self, sources: tuple[PlannedSource, ...]) -> Generator[SourceEvent, None, tuple[int, int]]:
        """Yields events until failure; returns how many sources ended and the next one's event count."""
        ended = taken = 0
        with suppress(RayError, TimeoutError):
            for message in self._messages(sources):
                for event in message:
                    yield event
                    ended, taken = (ended + 1, 0) if isinstance(event, ItemEnd) else (ended, taken + 1)
        return ended, taken

    def _by_itself(self, source: PlannedSource, taken: int) -> Iterator[SourceEvent]:
        self._alone = SourceTask(
            source, self._settings, self._placement, self._heartbeat, taken=taken, num_cpus=0
        )
        return self._alone.events()

    def cancel(self) -> None:
        """Kill the task's process."""
        ray.cancel(self._generator, force=True)
        if self._alone is not None:
            self._alone.cancel()

    def _messages(self, sources: tuple[PlannedSource, ...]) -> Iterator[list[SourceEvent]]:
        limit_s = self._settings.limits.item_timeout_s + MESSAGE_S
        copying_s = object_bytes(sources) / SLOWEST_TRANSFER_BYTES_PER_S
        timeout_s: float | None = None
        waited = False
        while True:
            try:
                message: Message = next_value(self._generator, timeout_s, self._heartbeat)
            except StopIteration:
                return
            if isinstance(message, Waiting):
                timeout_s, waited = None, True
            elif isinstance(message, Staged):
                timeout_s, waited = limit_s + (copying_s if waited else 0), False
            else:
                yield message
