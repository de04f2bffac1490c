"""Cuts: which frames of which clips make which sample; and what all sample shapes have in common.

A **cut** assigns clips to samples. Each sample consists of pieces: frames [first, first + frames) of one
clip, placed at a token offset in the sample. Frames are token rows.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from bitmill.schemas.arrays import Int64s
from bitmill.schemas.models.geometry import Geometry


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

    def in_rows(self, geometry: Geometry) -> Self:
        """The same shape with lengths in token rows. Raises WrongArgumentError if no length is legal."""
        ...
