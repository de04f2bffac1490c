"""Forms batches of clips of one frame size, and brings their rows back into plan order; without timing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Generic, Protocol, TypeVar

from bitmill.schemas.models.geometry import SizePx

WAITING_BATCHES = 8
"""A clip waits for others of its size until the clips behind it have the pixels of this many full batches."""


class _Framed(Protocol):
    @property
    def num_frames(self) -> int: ...
    @property
    def size(self) -> SizePx: ...


ClipT = TypeVar("ClipT", bound=_Framed)
ValueT = TypeVar("ValueT")


@dataclass
class _Waiting(Generic[ClipT]):
    """The clips of one size."""

    opened_px: int
    """Pixels of all clips up to the first of these."""
    clips: list[ClipT] = field(default_factory=list[ClipT])
    num_px: int = 0


class Batcher(Generic[ClipT]):
    """Groups clips of one frame size into batches of at most ``batch_px`` pixels; a longer clip goes alone.

    Nothing is dropped, no batch is empty, and the clips of one size keep their order. A batch is full when
    the next clip of its size does not fit, or when ``WAITING_BATCHES`` passed its first clip.
    """

    def __init__(self, batch_px: int) -> None:
        self._batch_px = batch_px
        self._added_px = 0
        # By size, in the order of their first clips.
        self._waiting: dict[SizePx, _Waiting[ClipT]] = {}

    def add(self, clip: ClipT) -> list[list[ClipT]]:
        """Add a clip; returns the batches that are full now."""
        num_px, full = clip.num_frames * prod(clip.size), list[list[ClipT]]()
        self._added_px += num_px
        same = self._waiting.get(clip.size)
        if same is not None and same.num_px + num_px > self._batch_px:
            full.append(self._waiting.pop(clip.size).clips)
        same = self._waiting.setdefault(clip.size, _Waiting[ClipT](self._added_px))
        same.clips.append(clip)
        same.num_px += num_px
        while self._added_px - self._oldest.opened_px > WAITING_BATCHES * self._batch_px:
            full.append(self._waiting.pop(self._oldest.clips[0].size).clips)
        return full

    @property
    def _oldest(self) -> _Waiting[ClipT]:
        return next(iter(self._waiting.values()))

    def rest(self) -> list[list[ClipT]]:
        """Returns the batches that are left, and resets the batcher."""
        rest = [waiting.clips for waiting in self._waiting.values()]
        self._waiting.clear()
        return rest


class PlanOrder(Generic[ValueT]):
    """Brings values, numbered from 0 and each given once, into the order of their numbers."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, ValueT] = {}

    def put(self, number: int, value: ValueT) -> Iterator[ValueT]:
        """Add a value; yields those whose turn it is now."""
        self._early[number] = value
        while self._next in self._early:
            yield self._early.pop(self._next)
            self._next += 1
