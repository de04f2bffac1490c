"""Forms batches of clips in plan order, independent of timing."""

from typing import Generic, Protocol, TypeVar


class _Framed(Protocol):
    @property
    def num_frames(self) -> int: ...


ClipT = TypeVar("ClipT", bound=_Framed)


class Batcher(Generic[ClipT]):
    """Groups consecutive clips into batches of at most ``batch_frames`` frames; a longer clip goes alone.

    Order is kept, nothing is dropped, no batch is empty: ``add`` returns a batch when the new clip does not
    fit, ``rest`` the last one.
    """

    def __init__(self, batch_frames: int) -> None:
        self._batch_frames = batch_frames
        self._batch: list[ClipT] = []
        self._frames = 0

    def add(self, clip: ClipT) -> list[ClipT]:
        """Add a clip; returns the batch that is full because it does not fit, or an empty list."""
        full: list[ClipT] = []
        if self._frames + clip.num_frames > self._batch_frames:
            full = self.rest()
        self._batch.append(clip)
        self._frames += clip.num_frames
        return full

    def rest(self) -> list[ClipT]:
        """Returns the remaining clips, possibly none, and resets the batcher."""
        batch, self._batch, self._frames = self._batch, [], 0
        return batch
