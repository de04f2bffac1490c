"""Cuts an export's clips into files and finds what all clips have in common. Pure logic.

The cuts depend only on the clips' sizes and the bound, so that a dataset is always cut the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bitmill.schemas.reports.export_inventory import ExportContents


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Consecutive clips that go into one file."""

    first_clip: int
    num_clips: int
    num_frames: int
    num_tokens: int


class PortionCutter:
    """Takes clips one by one, in order; a file ends before the clip that would exceed ``max_bytes``.

    A single clip larger than that gets its own file.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._done: list[Portion] = []
        self._first = self._clips = self._frames = self._tokens = self._bytes = 0

    def add(self, size_bytes: int, num_frames: int, num_tokens: int) -> None:
        """Add one clip, with the bytes that it adds to a file."""
        if self._clips and self._bytes + size_bytes > self._max_bytes:
            self._close()
        self._clips += 1
        self._frames += num_frames
        self._tokens += num_tokens
        self._bytes += size_bytes

    def finish(self) -> list[Portion]:
        """The portions of all files; together they cover the added clips without gaps."""
        if self._clips:
            self._close()
        return self._done

    def _close(self) -> None:
        self._done.append(
            Portion(
                first_clip=self._first,
                num_clips=self._clips,
                num_frames=self._frames,
                num_tokens=self._tokens,
            )
        )
        self._first += self._clips
        self._clips = self._frames = self._tokens = self._bytes = 0


class ContentsSum:
    """Accumulates clips into ``ExportContents``."""

    def __init__(self) -> None:
        self._clips = self._frames = self._tokens = 0
        self._seen: list[set[int | float | None]] = [set(), set(), set(), set()]

    def add(self, shape_THW: tuple[int, int, int], fps: float | None, num_tokens: int) -> None:
        """Add one clip."""
        self._clips += 1
        self._frames += shape_THW[0]
        self._tokens += num_tokens
        for seen, value in zip(self._seen, (*shape_THW, fps), strict=True):
            # Two values are enough to know that there is no single one.
            if len(seen) < 2:
                seen.add(value)

    def contents(self) -> ExportContents:
        """The contents added so far."""
        frames, height, width, fps = (_the_one(seen) for seen in self._seen)
        return ExportContents(
            clips=self._clips,
            frames=self._frames,
            tokens=self._tokens,
            shape_THW=(_whole(frames), _whole(height), _whole(width)),
            fps=fps,
        )


def _the_one(seen: Iterable[int | float | None]) -> int | float | None:
    values = list(seen)
    return values[0] if len(values) == 1 else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
