"""Small sources in one Ray task; should it die or hang, each is decoded by itself."""

from collections.abc import Callable, Iterator
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
from bitmill.pipeline.isolation.small_sources import MESSAGE_S, Bundle, Message, Waiting
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged
from bitmill.pipeline.items import ItemEnd, SourceEvent


class BundleTask:
    """As SourceTask, of several sources that are no archives; ``events`` are those of one after the other.

    Whatever befalls the bundle's process says nothing of any of its sources: those whose ends have not come
    are decoded again, each by a SourceTask, whose verdict counts.
    """

    def __init__(
        self, source: Bundle, settings: DecodeSettings, placement: TaskPlacement, beat: Callable[[], None]
    ) -> None:
        self.source = source
        self._settings = settings
        self._placement = placement
        self._heartbeat = beat
        self._alone: SourceTask | None = None
        self._generator: Any = None
        if len(source.sources) == 1:
            self._alone = SourceTask(source.sources[0], settings, placement, beat)
            return
        options = decode_options(num_cpus=1, placement=placement, source=source.sources[0])
        self._generator = options.remote(source.sources, settings, 0, None)

    def events(self) -> Iterator[SourceEvent]:
        """The events of all sources. Raises what SourceTask raises."""
        if self._generator is None and self._alone is not None:
            yield from self._alone.events()
            return
        ended = taken = 0
        with suppress(RayError, TimeoutError):
            for message in self._messages():
                for event in message:
                    yield event
                    is_end = isinstance(event, ItemEnd)
                    ended, taken = (ended + 1, 0) if is_end else (ended, taken + 1)
        left = self.source.sources[ended:]
        if left:
            self.cancel()
        for source in left:
            # Bundles behind this one may hold every CPU.
            self._alone = SourceTask(
                source, self._settings, self._placement, self._heartbeat, taken=taken, num_cpus=0
            )
            taken = 0
            yield from self._alone.events()

    def cancel(self) -> None:
        """End its process."""
        if self._generator is not None:
            ray.cancel(self._generator, force=True)
        if self._alone is not None:
            self._alone.cancel()

    def _messages(self) -> Iterator[list[SourceEvent]]:
        size_bytes = sum(source.size_bytes for source in self.source.sources)
        limit_s = self._settings.limits.item_timeout_s + MESSAGE_S
        limit_s += size_bytes / SLOWEST_TRANSFER_BYTES_PER_S
        timeout_s: float | None = None
        while True:
            try:
                message: Message = next_value(self._generator, timeout_s, self._heartbeat)
            except StopIteration:
                return
            if isinstance(message, Waiting):
                timeout_s = None
            elif isinstance(message, Staged):
                timeout_s = limit_s
            else:
                yield message
