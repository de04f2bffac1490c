"""When a copy of a source object may enter a machine's staging folder. Pure: no files, no locks.

The total size of copies is bounded. Waiting requests form a queue, and only its first may enter: if its copy
fits, or if there is no other copy, so that an object larger than the bound enters alone.

That rule alone could deadlock. An actor takes its items in order, and a decoder that works ahead keeps its
copy until its item's turn. If the item whose turn it is waits behind copies of later items, nothing can
proceed. If items requested room in the order of their turns this could not happen: for the actor of any copy,
the item whose turn it is asked earlier, and so has its own copy. But decoders start in no strict order,
retries come late, and items of one actor are on several machines. So there is a second rule: the first of the
queue enters over the bound once nothing has *moved* for a while. A copy moves when it appears or is removed,
while it is written, and each time its decoder is asked for more. Every entry is a move, so entries over the
bound happen one at a time, each after its own wait; and since each admits one more of a finite queue, the
item whose turn it is gets its room. The total exceeds the bound only by copies that entered this way, never
by more than the copies of all running decoders.
"""

from collections.abc import Callable, Collection, Hashable


def fits(size_bytes: int, held: Collection[int], limit_bytes: int) -> bool:
    """True if a copy fits next to the existing ones, or if there are none."""
    return not held or sum(held) + size_bytes <= limit_bytes


def automatic_limit(free_bytes: int, written_bytes: int) -> int:
    """Four fifths of the disk space available to copies: its free space, plus what copies already use."""
    return (free_bytes + written_bytes) * 4 // 5


class Stillness:
    """Detects that nothing has moved for ``patience_s``, using a clock in seconds."""

    def __init__(self, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._seen: Hashable = None
        self._since = clock()

    def lasts(self, state: Hashable) -> bool:
        """True if every call in the last ``patience_s`` has seen this same state."""
        if state != self._seen:
            self._seen, self._since = state, self._clock()
        return self._clock() - self._since >= self._patience_s
