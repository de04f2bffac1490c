"""Batches of clips, formed in plan order by a rule that no timing can change."""

from typing import Generic, Protocol, TypeVar


class _Framed(Protocol):
    @property
    def num_frames(self) -> int: ...


ClipT = TypeVar("ClipT", bound=_Framed)


class Batcher(Generic[ClipT]):
    """Collects consecutive clips with together at most ``batch_frames`` frames; a longer clip goes alone.

    Order is kept, nothing is dropped, no batch is empty: ``add`` gives a batch when the new clip does not
    fit any more, ``rest`` the last one.
    """

    def __init__(self, batch_frames: int) -> None:
        self._batch_frames = batch_frames
        self._batch: list[ClipT] = []
        self._frames = 0

    def add(self, clip: ClipT) -> list[ClipT]:
        """Take a clip; gives the batch that it completed by not fitting in, or an empty list."""
        full: list[ClipT] = []
        if self._frames + clip.num_frames > self._batch_frames:
            full = self.rest()
        self._batch.append(clip)
        self._frames += clip.num_frames
        return full

    def rest(self) -> list[ClipT]:
        """What is left, possibly nothing; the batcher starts anew."""
        batch, self._batch, self._frames = self._batch, [], 0
        return batch
