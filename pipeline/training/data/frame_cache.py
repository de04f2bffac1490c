"""An LRU cache of decoded frames, bounded in bytes."""

from collections import OrderedDict
from collections.abc import Hashable

from bitmill.schemas.arrays import Frames


class FrameCache:
    """Evicts the least recently used frames when it exceeds ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Frames] = OrderedDict()
        self.num_bytes = 0

    def get(self, key: Hashable) -> Frames | None:
        """Return the frames of ``key``, or None, and mark them as used."""
        frames = self._kept.get(key)
        if frames is not None:
            self._kept.move_to_end(key)
        return frames

    def put(self, key: Hashable, frames: Frames) -> None:
        """Store ``frames``, unless they alone exceed the bound."""
        if key in self._kept:
            self.num_bytes -= self._kept.pop(key).nbytes
        if frames.nbytes > self._max_bytes:
            return
        self._kept[key] = frames
        self.num_bytes += frames.nbytes
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= self._kept.popitem(last=False)[1].nbytes
