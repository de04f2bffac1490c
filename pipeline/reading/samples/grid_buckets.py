"""GridBuckets: batches of one token grid each, and the grids that the samples of a dataset have."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

import numpy as np

from bitmill.pipeline.reading.samples.cut import Cut, SampleShape
from bitmill.pipeline.reading.samples.sample_shapes import Clips, FrameWindows, Padding
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.models.geometry import Geometry

_AXIS_BITS = 21


class TokenGrid(NamedTuple):
    """The grid of a sample. DataLoaders keep named tuples; they make lists of others."""

    rows: int
    height: int
    width: int


@dataclass(frozen=True)
class GridBuckets:
    """Batches of one token grid (T, h, w) each, for datasets of several: ``samples`` says what a sample is.

    A batch has the ``batch_size`` of TokenBatches, or, with ``tokens_per_batch``, as many samples as have
    that many tokens together (at least 1): large grids come in smaller batches. Both count all ranks, which
    take consecutive shares of a batch; shares may differ by one sample, and a batch of fewer samples than
    there are ranks leaves some of them an empty one.

    Batches also have ``grid``, a named tuple (rows, height, width), and ``global_samples``, the number of
    samples of all ranks. Whole clips of all lengths make many grids: ``GridBuckets(Padding())`` pads the
    clips of one height and width to the longest of them, ``GridBuckets(FrameWindows(n))`` cuts windows of one
    length first. A grid's remainder is that of each block, about ``window_bytes`` of codes.
    """

    samples: Clips | FrameWindows | Padding = field(default_factory=Clips)
    tokens_per_batch: int | None = None
    per_clip: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.samples, Clips | FrameWindows | Padding):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WrongArgumentError(
                f"GridBuckets takes Clips(), FrameWindows(n) or Padding(), not {self.samples!r}; Packing "
                "mixes grids by itself."
            )
        if self.tokens_per_batch is not None and self.tokens_per_batch < 1:
            raise WrongArgumentError("GridBuckets needs at least 1 token per batch.")

    def in_rows(self, geometry: Geometry) -> Self:
        """The same buckets with lengths in token rows. Raises WrongArgumentError if no length is legal."""
        return type(self)(self.samples.in_rows(geometry), self.tokens_per_batch)

    def count(self, shapes_n3: Int64s) -> Int64s:
        """Number of samples of each clip."""
        return self.samples.count(shapes_n3)

    def cut(self, shapes_n3: Int64s) -> Cut:
        """The samples of these clips, of any grids."""
        return self.samples.cut(shapes_n3)

    def check(self, shapes_n3: Int64s) -> None:
        """Require what ``samples`` requires of the lengths of clips."""
        self.samples.check_lengths(shapes_n3)

    def batch_samples(self, num_tokens: int, batch_size: int | None) -> int:
        """Number of samples of a full batch whose samples have ``num_tokens`` each."""
        return batch_size or max(1, (self.tokens_per_batch or 0) // num_tokens)


def unbucketed(shape: SampleShape) -> SampleShape:
    """What a sample is: the shape itself, or the ``samples`` of buckets."""
    return shape.samples if isinstance(shape, GridBuckets) else shape


@dataclass(frozen=True, kw_only=True)
class Grids:
    """The token grids of a dataset's samples, numbered in ascending order."""

    grids_B3: Int64s
    """int64 [B, 3]: token rows, height and width of each grid."""
    _shapes: Int64s
    """int64 [n]: the distinct shapes of clips, each as one number, ascending."""
    _numbers: Int64s
    """int64 [n]: the number of each one's grid; -1 if its clips give no sample."""

    @classmethod
    def of_samples(cls, buckets: GridBuckets, shapes_n3: Int64s) -> "Grids":
        """The grids of the samples of clips of these distinct shapes."""
        given = shapes_n3[buckets.count(shapes_n3) > 0]
        grids, numbers = np.unique(buckets.samples.grids(given), axis=0, return_inverse=True)
        found = np.full(len(shapes_n3), -1, np.int64)
        found[buckets.count(shapes_n3) > 0] = numbers.reshape(-1)
        order = np.argsort(_as_numbers(shapes_n3))
        return cls(grids_B3=grids, _shapes=_as_numbers(shapes_n3)[order], _numbers=found[order])

    def of_clips(self, shapes_n3: Int64s) -> Int64s:
        """Numbers of the grids of clips' samples, int64 [n]."""
        return self._numbers[np.searchsorted(self._shapes, _as_numbers(shapes_n3))]

    def grid(self, number: int) -> TokenGrid:
        """The grid with this number."""
        return TokenGrid(*self.grids_B3[number].tolist())

    def name(self, number: int) -> str:
        """The grid as texts name it: ``5×16×28``."""
        return "×".join(map(str, self.grid(number)))


def _as_numbers(shapes_n3: Int64s) -> Int64s:
    rows, heights, widths = shapes_n3.T
    return (((rows << _AXIS_BITS) | heights) << _AXIS_BITS) | widths
