"""Clips by the size of their frames: how many, how much of the picture was cropped away, what is padding."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from bitmill.pipeline.dataset.token_counts import real_frames
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.reports.audit_report import FrameSize

MAX_SIZES = 100


@dataclass
class _Sums:
    clips: int = 0
    frames: int = 0
    padded_frames: int = 0
    tokens: int = 0
    code_bytes: int = 0
    kept_px: int = 0
    """Pixels of all frames, and of the scaled frames that they were cropped from; 0 if unknown."""
    scaled_px: int = 0

    def merge(self, other: "_Sums") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def cropped(self) -> float | None:
        return 1 - self.kept_px / self.scaled_px if self.scaled_px else None


class SizeTally:
    """Integer sums by frame size, (height, width) in pixels, independent of order."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._sizes: dict[SizePx, _Sums] = {}

    def add(self, table: pa.Table, num_tokens: Int64s) -> None:
        """Add the clips of a row group; those without tokens, whose shape is wrong, are left out."""
        known = num_tokens > 0
        table, num_tokens = table.filter(pa.array(known)), num_tokens[known]
        frames: Int64s = real_frames(table).astype(np.int64)
        rows: list[Any] = table.column("num_frames").to_pylist()
        all_frames = np.array([self._geometry.frames_of_rows(count) for count in rows], np.int64)
        sizes_N2 = np.stack(
            [
                table.column(name).to_numpy().astype(np.int64) * patch
                for name, patch in zip(("height", "width"), self._geometry.patch_px, strict=True)
            ],
            axis=1,
        )
        sizes, which = np.unique(sizes_N2, axis=0, return_inverse=True)
        for place, (height, width) in enumerate(sizes.tolist()):
            own = which.reshape(-1) == place
            sums = _Sums(
                clips=int(own.sum()),
                frames=int(frames[own].sum()),
                padded_frames=int((all_frames - frames)[own].sum()),
                tokens=int(num_tokens[own].sum()),
                code_bytes=sum(
                    packed_size(count, self._geometry.code.bits_per_token)
                    for count in num_tokens[own].tolist()
                ),
            )
            if "scaled_height" in table.column_names:
                scaled = [
                    table.column(name).to_numpy().astype(np.int64)[own]
                    for name in ("scaled_height", "scaled_width")
                ]
                sums.kept_px = sums.frames * height * width
                sums.scaled_px = int((scaled[0] * scaled[1] * frames[own]).sum())
            self._sizes.setdefault((height, width), _Sums()).merge(sums)

    def merge(self, other: "SizeTally") -> None:
        """Add those of the following shards."""
        for size, sums in other._sizes.items():
            self._sizes.setdefault(size, _Sums()).merge(sums)

    @property
    def num_sizes(self) -> int:
        """Number of different sizes."""
        return len(self._sizes)

    @property
    def padded_frames(self) -> int:
        """Frames that repeat a clip's last one, in total."""
        return sum(sums.padded_frames for sums in self._sizes.values())

    @property
    def cropped(self) -> float | None:
        """Share of the pixels of all scaled frames that were cropped away; None if the shards do not tell."""
        total = _Sums()
        for sums in self._sizes.values():
            total.merge(sums)
        return total.cropped

    def report(self) -> list[FrameSize]:
        """The sizes with most clips first, up to ``MAX_SIZES``."""
        ordered = sorted(self._sizes.items(), key=lambda pair: (-pair[1].clips, pair[0]))
        return [
            FrameSize(
                height_px=size[0],
                width_px=size[1],
                clips=sums.clips,
                frames=sums.frames,
                padded_frames=sums.padded_frames,
                tokens=sums.tokens,
                code_bytes=sums.code_bytes,
                cropped=sums.cropped,
            )
            for size, sums in ordered[:MAX_SIZES]
        ]
