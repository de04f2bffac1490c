"""Decides from measured times how many items are decoded at once; changes neither bytes nor order."""

import time
from collections.abc import Callable, Iterator

from bitmill.pipeline.items import ItemEnd, SourceEvent

_LEAST = 2
"""The item that is read, and the one behind it, whose decoding must not begin only when it is needed."""

_WAITING = 0.05
"""Share of an actor's time that it may wait for clips before it gets another decoder."""

_DECIDE_EVERY_S = 1.0


def next_size(size: int, most: int, *, waited: float, busy: float) -> int:
    """Returns how many items to decode at once, between 2 and ``most``, one more or less than ``size``.

    ``waited`` is the share of the last interval in which the actor waited for clips, ``busy`` the mean number
    of decoders that worked in it; the others had filled their queues, and held their CPUs for nothing.
    """
    if waited > _WAITING:
        size += 1
    elif busy < size - _LEAST:
        size -= 1
    return max(1, min(max(size, _LEAST), most))


class DecodePace:
    """The size of one actor's decode window, which follows what was measured while its items were read."""

    def __init__(self, size: int, most: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.size = size
        self.most = most
        self._clock = clock
        self._began = clock()
        self._waited_s = self._decoded_s = 0.0

    def bound(self, most: int) -> None:
        """Allow another number of decoders at most, as the cluster grew or shrank."""
        self.most = most
        self.size = min(self.size, most)

    def measured(self, events: Iterator[SourceEvent]) -> Iterator[SourceEvent]:
        """Yields an item's events; at its end, decides by the time since the last decision.

        That includes what a shard's last batches took after its last item: decoders go on meanwhile.
        """
        while True:
            asked = self._clock()
            event = next(events, None)
            self._waited_s += self._clock() - asked
            if event is None:
                break
            if isinstance(event, ItemEnd):
                self._decoded_s += event.read_s + event.decode_s
            yield event
        spent_s = self._clock() - self._began
        if spent_s >= _DECIDE_EVERY_S:
            self.size = next_size(
                self.size, self.most, waited=self._waited_s / spent_s, busy=self._decoded_s / spent_s
            )
            self._began, self._waited_s, self._decoded_s = self._clock(), 0.0, 0.0
