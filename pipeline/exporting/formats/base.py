"""The interface of export formats; each format is a module next to this one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from bitmill.pipeline.exporting.formats.exported_clip import SHAPE_COLUMNS, ExportedClip, TokenLayout
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.export_inventory import ExportContents, ExportOutline

Rows = Callable[[], Iterator[pa.Table]]
"""All clips without their codes, in order, one shard at a time; each call reads them again."""


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A file next to the token files: its name, and the function that writes it from outline and rows."""

    name: str
    write: Callable[[Path, ExportOutline, Rows], None]


class Format(Protocol):
    """A layout of clips in files. Writes given local files; does not handle stores or resuming.

    Equal clips give equal bytes.
    """

    tokens: TokenLayout
    """Of the tokens passed to ``write_clips``."""
    companions: Sequence[Companion]

    def check(self, contents: ExportContents) -> None:
        """Raise UsageError if this format does not support these clips."""
        ...

    def clips_within(self, max_bytes: int) -> int:
        """Bytes that clips may take in a file of at most ``max_bytes``."""
        ...

    def clip_sizes(self, rows: pa.Table) -> Iterable[int]:
        """Bytes that each clip adds to a file."""
        ...

    def file_name(self, number: int, num_files: int) -> str:
        """Name of a file, relative to the export's folder; names sort in clip order."""
        ...

    def write_clips(self, path: Path, clips: Iterator[ExportedClip]) -> None:
        """Write one file."""
        ...


def token_counts(rows: pa.Table, geometry: Geometry) -> list[int]:
    """Number of tokens of each clip."""
    if geometry.layout == "grid":
        frames, height, width = (rows.column(name).to_numpy().astype(np.int64) for name in SHAPE_COLUMNS)
        return (frames * height * width).tolist()
    return [geometry.num_tokens(shape) for shape in clip_shapes(rows)]


def clip_shapes(rows: pa.Table) -> list[tuple[int, int, int]]:
    """Token grid of each clip: t, h, w."""
    return list(zip(*(rows.column(name).to_pylist() for name in SHAPE_COLUMNS), strict=True))
