"""Sample shapes: a whole clip, some of its frames, or a row packed with several clips. Pure logic.

A **frame** is here, and in all that is said of shapes, a row of a clip's token grid, as the column
``num_frames`` counts: with a tokenizer of several frames per token it stands for more than one. Only a length
with ``unit="frames"`` counts frames of the video.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from bitmill.pipeline.reading.index.index import num_tokens_of
from bitmill.pipeline.reading.kernels.bin_packing import best_fit
from bitmill.pipeline.reading.samples.cut import Cut, SampleShape
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.models.geometry import Geometry

Unit = Literal["rows", "frames"]
"""What a length counts: rows of the token grid, or frames of the video, rounded up to a legal length."""


class _InRows:
    """A shape whose lengths, if it has any, are in rows."""

    def in_rows(self, geometry: Geometry) -> Self:  # noqa: ARG002 - all rows are legal
        """The same shape."""
        return self


class _InUnits:
    """A shape whose length ``num_frames`` has a ``unit``.

    The unit is named by ``repr`` only if it is not rows: the repr is hashed into saved states, which are
    older than the unit.
    """

    num_frames: int | None
    unit: Unit

    def __repr__(self) -> str:
        named = [one.name for one in fields(self) if one.name != "unit" or self.unit != "rows"]  # pyright: ignore[reportArgumentType]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in named)})"

    def _rows(self, geometry: Geometry) -> int | None:
        if self.unit == "rows" or self.num_frames is None:
            return self.num_frames
        if geometry.layout == "pyramid":
            raise WrongArgumentError(
                'The tokens of a pyramid have no frames to count: leave out unit="frames".'
            )
        legal = geometry.legal_at_least(self.num_frames)
        if legal is None:
            raise WrongArgumentError(
                f"The tokenizer's clips have at most {geometry.most_frames} frames, fewer than {self!r} asks "
                "for."
            )
        return geometry.token_rows(legal)

    def _check_unit(self) -> None:
        if self.unit not in ("rows", "frames"):
            raise WrongArgumentError(f"unit must be rows or frames, not {self.unit!r}.")


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
class Clips(_OneOfEach, _InRows):
    """Whole clips, which must all have the same shape: ``tokens`` [B, T, h, w, …]."""

    def grids(self, shapes_n3: Int64s) -> Int64s:
        """The token grid of the samples of clips of these (distinct) shapes, int64 [n, 3]."""
        return shapes_n3

    def check_lengths(self, shapes_n3: Int64s) -> None:
        """Accept all lengths."""

    def check(self, shapes_n3: Int64s) -> None:
        """Require a single shape."""
        if len(shapes_n3) > 1:
            shapes = ", ".join("×".join(map(str, shape)) for shape in shapes_n3[:4].tolist())
            more = ", …" if len(shapes_n3) > 4 else ""
            raise WrongArgumentError(
                f"The clips have {len(shapes_n3)} shapes ({shapes}{more}), which cannot be stacked. Use "
                "shape=GridBuckets() for batches of one shape each, Packing(n), or, if only their lengths "
                "differ, FrameWindows(n) for n frames of each or Padding(); or select clips of one shape "
                "with where=ClipFilter(min_frames=n)."
            )


@dataclass(frozen=True, repr=False)
class FrameWindows(_InUnits):
    """Runs of ``num_frames`` frames of a clip, starting every ``stride`` frames (default: end to end).

    Frames are token rows, the T of ``tokens``, of which each may stand for several frames of the video. With
    ``unit="frames"`` both numbers count frames of the video: a window is as many rows as the shortest legal
    clip of at least ``num_frames`` frames has, the stride is rounded up to whole rows. Drops a clip's rows
    after its last full window, and clips that are too short.
    """

    num_frames: int  # pyright: ignore[reportIncompatibleVariableOverride]
    stride: int | None = None
    unit: Unit = "rows"
    per_clip: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check_unit()
        if self.num_frames < 1 or (self.stride is not None and self.stride < 1):
            raise WrongArgumentError("FrameWindows needs at least 1 frame and a stride of at least 1.")

    def in_rows(self, geometry: Geometry) -> Self:
        """The same windows, counted in token rows. Raises WrongArgumentError if no clip is that long."""
        stride = self.stride
        if stride is not None and self.unit == "frames":
            stride = -(-stride // geometry.frames_per_token)
        return replace(self, num_frames=self._rows(geometry), stride=stride, unit="rows")

    def grids(self, shapes_n3: Int64s) -> Int64s:
        """The token grid of the samples of clips of these (distinct) shapes, int64 [n, 3]."""
        return np.column_stack((np.full(len(shapes_n3), self.num_frames), shapes_n3[:, 1:]))

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
        _check_one_grid(shapes_n3, self)
        self.check_lengths(shapes_n3)

    def check_lengths(self, shapes_n3: Int64s) -> None:
        """Require at least one clip that is long enough."""
        if len(shapes_n3) and not self.count(shapes_n3).any():
            longest = int(shapes_n3[:, 0].max())
            raise WrongArgumentError(f"No clip has {self.num_frames} frames; the longest has {longest}.")


@dataclass(frozen=True, repr=False)
class Padding(_OneOfEach, _InUnits):
    """Whole clips, padded at the end to ``num_frames`` frames (default: those of the longest clip).

    Frames are token rows, the T of ``tokens``, of which each may stand for several frames of the video. With
    ``unit="frames"`` the number counts frames of the video, and clips are padded to as many rows as the
    shortest legal clip of at least that length has. Batches have ``mask``, bool [B, T], true where a row
    belongs to the clip.
    """

    num_frames: int | None = None
    unit: Unit = "rows"

    def __post_init__(self) -> None:
        self._check_unit()
        if self.num_frames is not None and self.num_frames < 1:
            raise WrongArgumentError("Padding needs at least 1 frame.")

    def in_rows(self, geometry: Geometry) -> Self:
        """The same padding, counted in token rows. Raises WrongArgumentError if no clip is that long."""
        return replace(self, num_frames=self._rows(geometry), unit="rows")

    def grids(self, shapes_n3: Int64s) -> Int64s:
        """The token grid of the samples of clips of these (distinct) shapes, int64 [n, 3]: by default as long
        as the longest clip of the same height and width."""
        if self.num_frames is not None:
            return np.column_stack((np.full(len(shapes_n3), self.num_frames), shapes_n3[:, 1:]))
        frame_grids, which = np.unique(shapes_n3[:, 1:], axis=0, return_inverse=True)
        longest = np.zeros(len(frame_grids), np.int64)
        np.maximum.at(longest, which.reshape(-1), shapes_n3[:, 0])
        return np.column_stack((longest[which.reshape(-1)], shapes_n3[:, 1:]))

    def check(self, shapes_n3: Int64s) -> None:
        """Require a single frame grid, and no clip longer than the padded length."""
        _check_one_grid(shapes_n3, self)
        self.check_lengths(shapes_n3)

    def check_lengths(self, shapes_n3: Int64s) -> None:
        """Require that no clip is longer than the padded length."""
        longest = int(shapes_n3[:, 0].max(initial=0))
        if self.num_frames is not None and longest > self.num_frames:
            raise WrongArgumentError(
                f"A clip has {longest} frames, more than Padding({self.num_frames}) allows; choose a "
                f"larger number, or select clips with where=ClipFilter(max_frames={self.num_frames})."
            )


@dataclass(frozen=True)
class Packing(_InRows):
    """Rows of ``num_tokens`` places, filled with whole clips by best fit; no frame of a clip is dropped.

    A clip with more tokens than a row is split between frames into as few documents as possible. With
    ``start_tokens``, one place before each clip and before each further frame contains a special token. With
    ``times``, batches have ``times_ns``: when each token's frame is shown. Clips keep their grids, which may
    be of any height and width. A pyramid is not split.
    """

    num_tokens: int
    start_tokens: bool = False
    times: bool = field(default=False, kw_only=True, repr=False)
    """Not part of the repr, which is hashed into saved states: it changes nothing of the order."""
    pyramid: Geometry | None = field(default=None, kw_only=True, repr=False, compare=False)
    """Set by ``in_rows`` if clips are pyramids."""
    per_clip: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise WrongArgumentError("Packing needs at least 1 token per row.")

    def in_rows(self, geometry: Geometry) -> Self:
        """The same shape, told of pyramids."""
        return replace(self, pyramid=geometry if geometry.layout == "pyramid" else None)

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
        largest = int(self._frame_places(shapes_n3).max(initial=0))
        if largest > self.num_tokens:
            what = f"A {'frame' if self.pyramid is None else 'pyramid'} takes {largest} tokens"
            raise WrongArgumentError(f"{what}, more than a row of {self.num_tokens}.")

    def frame_tokens(self, grids_n2: Int64s) -> Int64s:
        """Tokens of a frame of each of these grids (height, width), int64 [n]; of a pyramid all of them."""
        if self.pyramid is None:
            return grids_n2.prod(axis=1)
        return num_tokens_of(np.insert(grids_n2, 0, 1, axis=1), self.pyramid)

    def _frame_places(self, shapes_n3: Int64s) -> Int64s:
        return self.frame_tokens(shapes_n3[:, 1:]) + int(self.start_tokens)

    def _documents(self, shapes_n3: Int64s) -> tuple[Any, Any, Any, Any]:
        """Split clips into as few documents as fit a row: clip, first frame, frames and tokens of each."""
        frame, every = self._frame_places(shapes_n3), np.arange(len(shapes_n3))
        if self.pyramid is not None:
            return every, np.zeros_like(every), shapes_n3[:, 0], frame
        most = np.maximum(1, self.num_tokens // np.maximum(1, frame))
        counts = -(-shapes_n3[:, 0] // most)
        clips = np.repeat(every, counts)
        number = np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)
        first_frames = number * most[clips]
        frames = np.minimum(most[clips], shapes_n3[clips, 0] - first_frames)
        return clips, first_frames, frames, frames * frame[clips]


def _check_one_grid(shapes_n3: Int64s, shape: SampleShape) -> None:
    grids = sorted({(height, width) for _, height, width in shapes_n3.tolist()})
    if len(grids) > 1:
        names = ", ".join(f"{height}×{width}" for height, width in grids[:4])
        more = ", …" if len(grids) > 4 else ""
        raise WrongArgumentError(
            f"The frames have {len(grids)} token grids ({names}{more}), which cannot be stacked. Use "
            f"shape=GridBuckets({shape!r}) for batches of one grid each, or Packing(n), which mixes them."
        )
