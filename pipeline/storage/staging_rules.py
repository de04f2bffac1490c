"""Who may enter a machine's room for copies of foreign objects, and when. Pure: no file and no lock here.

Copies are bounded in sum. Who waits stands in a queue, and only its first may enter: where its copy fits,
or where there is no other, so that an object larger than the bound goes alone.

That alone could stand still for ever. An actor takes its items in order, and a decoder that works ahead
holds its copy until its turn has come; should the item whose turn it is wait behind copies of items that
follow it, nobody could move. Where items ask for room in the order of their turns this cannot be: of the
actor of any copy, the item whose turn it is asked before, and so holds its own. But decoders start in no
strict order, a second attempt comes late, and items of one actor lie on several machines. So there is a
second rule: the first of the queue enters over the bound once nothing has *moved* for a while. A copy moves
when it comes or goes, while it is written, and each time its decoder is asked for more. Every entry is a
move, so entries over the bound are one at a time, each after a while of its own; and since each lets one
more of a finite queue in, the item whose turn it is gets its room. The sum exceeds the bound by what
entered so, and never by more than the copies of all decoders that run.
"""

from collections.abc import Callable, Collection, Hashable


def fits(size_bytes: int, held: Collection[int], limit_bytes: int) -> bool:
    """Whether a copy has room beside those that are held; one that would be alone always has."""
    return not held or sum(held) + size_bytes <= limit_bytes


def automatic_limit(free_bytes: int, written_bytes: int) -> int:
    """Four fifths of what copies could take of a disk: its free space, and what they have taken of it."""
    return (free_bytes + written_bytes) * 4 // 5


class Stillness:
    """Notices that nothing has moved for ``patience_s``, by a clock of seconds."""

    def __init__(self, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._seen: Hashable = None
        self._since = clock()

    def lasts(self, state: Hashable) -> bool:
        """Whether every look of the last ``patience_s`` has seen this very state."""
        if state != self._seen:
            self._seen, self._since = state, self._clock()
        return self._clock() - self._since >= self._patience_s
