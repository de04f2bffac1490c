"""Sample shapes: a whole clip, some of its frames, or a row packed with several clips. Pure logic.

A **cut** assigns clips to samples. Each sample consists of pieces: frames [first, first + frames) of one
clip, placed at a token offset in the sample.

A **frame** is here, and in all that is said of shapes, a row of a clip's token grid, as the column
``num_frames`` counts: with a tokenizer of several frames per token it stands for more than one.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from bitmill.pipeline.reading.kernels.bin_packing import best_fit
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Samples of n clips; pieces of one sample are contiguous and ordered by place."""

    sample_starts: Int64s
    """int64 [num_samples + 1]: start of each sample's pieces."""
    clips: Int64s
    """int64 [num_pieces]: the piece's clip, in [0, n)."""
    first_frames: Int64s
    num_frames: Int64s
    places: Int64s
    """int64 [num_pieces]: the piece's first place in its sample, in tokens."""

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(self.sample_starts) - 1

    def table(self) -> Int64s:
        """Clip, first frame, frames and place of each piece, int64 [num_pieces, 4]."""
        return np.stack((self.clips, self.first_frames, self.num_frames, self.places), axis=1)


class SampleShape(Protocol):
    """How clips become samples. ``shapes_n3`` are the token grids of clips (T, h, w), int64 [n, 3]."""

    per_clip: ClassVar[bool]
    """True if no sample contains more than one clip, so that counts add up over clips."""

    def count(self, shapes_n3: Int64s) -> Int64s:
        """Number of samples of each clip, int64 [n]; of all clips together as [1] if not ``per_clip``."""
        ...

    def cut(self, shapes_n3: Int64s) -> Cut:
        """The samples of these clips."""
        ...

    def check(self, shapes_n3: Int64s) -> None:
        """Raise WrongArgumentError if clips of these (distinct) shapes cannot make these samples."""
        ...


class _OneOfEach:
    per_clip: ClassVar[bool] = True

    def count(self, shapes_n3: Int64s) -> Int64s:
        """One sample per clip."""
        return np.ones(len(shapes_n3), np.int64)

    def cut(self, shapes_n3: Int64s) -> Cut:
        """Every clip whole."""
        count = len(shapes_n3)
        zeros = np.zeros(count, np.int64)
        return Cut(
            sample_starts=np.arange(count + 1),
            clips=np.arange(count),
            first_frames=zeros,
            num_frames=shapes_n3[:, 0],
            places=zeros,
        )


@dataclass(frozen=True)
class Clips(_OneOfEach):
    """Whole clips, which must all have the same shape: ``tokens`` [B, T, h, w, …]."""

    def check(self, shapes_n3: Int64s) -> None:
        """Require a single shape."""
        if len(shapes_n3) > 1:
            shapes = ", ".join("×".join(map(str, shape)) for shape in shapes_n3[:4].tolist())
            more = ", …" if len(shapes_n3) > 4 else ""
            raise WrongArgumentError(
                f"The clips have {len(shapes_n3)} shapes ({shapes}{more}), which cannot be stacked. Use "
                "shape=FrameWindows(n) for n frames of each, Padding() or Packing(n); or select clips of "
                "one shape with where=ClipFilter(min_frames=n)."
            )


@dataclass(frozen=True)
class FrameWindows:
    """Runs of ``num_frames`` frames of a clip, starting every ``stride`` frames (default: end to end).

    Frames are token rows, the T of ``tokens``, of which each may stand for several frames of the video. Drops
    a clip's rows after its last full window, and clips that are too short.
    """

    num_frames: int
    stride: int | None = None
    per_clip: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_frames < 1 or (self.stride is not None and self.stride < 1):
            raise WrongArgumentError("FrameWindows needs at least 1 frame and a stride of at least 1.")

    def count(self, shapes_n3: Int64s) -> Int64s:
        """Number of windows in each clip."""
        return np.maximum(0, (shapes_n3[:, 0] - self.num_frames) // (self.stride or self.num_frames) + 1)

    def cut(self, shapes_n3: Int64s) -> Cut:
        """The windows, in order of clips and time."""
        counts = self.count(shapes_n3)
        clips = np.repeat(np.arange(len(shapes_n3)), counts)
        number = np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Cut(
            sample_starts=np.arange(len(clips) + 1),
            clips=clips,
            first_frames=number * (self.stride or self.num_frames),
            num_frames=np.full(len(clips), self.num_frames),
            places=np.zeros(len(clips), np.int64),
        )

    def check(self, shapes_n3: Int64s) -> None:
        """Require a single frame grid, and at least one clip that is long enough."""
        _check_one_grid(shapes_n3)
        if len(shapes_n3) and not self.count(shapes_n3).any():
            longest = int(shapes_n3[:, 0].max())
            raise WrongArgumentError(f"No clip has {self.num_frames} frames; the longest has {longest}.")


@dataclass(frozen=True)
class Padding(_OneOfEach):
    """Whole clips, padded at the end to ``num_frames`` frames (default: those of the longest clip).

    Frames are token rows, the T of ``tokens``, of which each may stand for several frames of the video.
    Batches have ``mask``, bool [B, T], true where a row belongs to the clip.
    """

    num_frames: int | None = None

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < 1:
            raise WrongArgumentError("Padding needs at least 1 frame.")

    def check(self, shapes_n3: Int64s) -> None:
        """Require a single frame grid, and no clip longer than the padded length."""
        _check_one_grid(shapes_n3)
        longest = int(shapes_n3[:, 0].max(initial=0))
        if self.num_frames is not None and longest > self.num_frames:
            raise WrongArgumentError(
                f"A clip has {longest} frames, more than Padding({self.num_frames}) allows; choose a "
                f"larger number, or select clips with where=ClipFilter(max_frames={self.num_frames})."
            )


@dataclass(frozen=True)
class Packing:
    """Rows of ``num_tokens`` places, filled with whole clips by best fit; no frame of a clip is dropped.

    A clip with more tokens than a row is split between frames into as few documents as possible. With
    ``start_tokens``, one place before each clip and before each further frame contains a special token.
    """

    num_tokens: int
    start_tokens: bool = False
    per_clip: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise WrongArgumentError("Packing needs at least 1 token per row.")

    def count(self, shapes_n3: Int64s) -> Int64s:
        """Number of rows that these clips fill, int64 [1]."""
        return np.array([self.cut(shapes_n3).num_samples])

    def cut(self, shapes_n3: Int64s) -> Cut:
        """Rows in the order in which they were opened; clips in a row by their place."""
        clips, first_frames, frames, lengths = self._documents(shapes_n3)
        rows, places = best_fit(lengths, self.num_tokens)
        order = np.lexsort((places, rows))
        num_rows = int(rows.max(initial=-1)) + 1
        counts = np.bincount(rows, minlength=num_rows) if num_rows else np.empty(0, np.int64)
        return Cut(
            sample_starts=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            clips=clips[order],
            first_frames=first_frames[order],
            num_frames=frames[order],
            places=places[order],
        )

    def check(self, shapes_n3: Int64s) -> None:
        """Require that one frame of every grid fits a row."""
        largest = int(self._frame_tokens(shapes_n3).max(initial=0))
        if largest > self.num_tokens:
            raise WrongArgumentError(f"A frame takes {largest} tokens, more than a row of {self.num_tokens}.")

    def _frame_tokens(self, shapes_n3: Int64s) -> Int64s:
        return shapes_n3[:, 1] * shapes_n3[:, 2] + int(self.start_tokens)

    def _documents(self, shapes_n3: Int64s) -> tuple[Any, Any, Any, Any]:
        """Split clips into as few documents as fit a row: clip, first frame, frames and tokens of each."""
        frame = self._frame_tokens(shapes_n3)
        most = np.maximum(1, self.num_tokens // np.maximum(1, frame))
        counts = -(-shapes_n3[:, 0] // most)
        clips = np.repeat(np.arange(len(shapes_n3)), counts)
        number = np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)
        first_frames = number * most[clips]
        frames = np.minimum(most[clips], shapes_n3[clips, 0] - first_frames)
        return clips, first_frames, frames, frames * frame[clips]


def _check_one_grid(shapes_n3: Int64s) -> None:
    grids = sorted({(height, width) for _, height, width in shapes_n3.tolist()})
    if len(grids) > 1:
        names = ", ".join(f"{height}×{width}" for height, width in grids[:4])
        raise WrongArgumentError(
            f"The frames have {len(grids)} token grids ({names}); only Packing can mix them."
        )
