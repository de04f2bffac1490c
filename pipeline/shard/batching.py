"""Batches of clips, formed in plan order by a rule that no timing can change."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class _Framed(Protocol):
    @property
    def num_frames(self) -> int: ...


ClipT = TypeVar("ClipT", bound=_Framed)


def batches(clips: Iterable[ClipT], batch_frames: int) -> Iterator[list[ClipT]]:
    """Consecutive clips with together at most ``batch_frames`` frames; a longer clip goes alone.

    Order is kept, nothing is dropped, no batch is empty.
    """
    batch: list[ClipT] = []
    frames = 0
    for clip in clips:
        if batch and frames + clip.num_frames > batch_frames:
            yield batch
            batch, frames = [], 0
        batch.append(clip)
        frames += clip.num_frames
    if batch:
        yield batch
