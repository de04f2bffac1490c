"""What the forms of an export have in common; each form has a file of its own beside this one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from bitmill.pipeline.exporting.formats.exported_clip import SHAPE_COLUMNS, ExportedClip
from bitmill.schemas.reports.export_inventory import ExportContents, ExportOutline

Rows = Callable[[], Iterator[pa.Table]]
"""All clips without their codes, in order, a shard at a time; read anew by each call."""


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A file beside those that hold tokens: its name, and how it is written from outline and rows."""

    name: str
    write: Callable[[Path, ExportOutline, Rows], None]


class Form(Protocol):
    """A layout of clips in files. Writes local files that it is given; knows neither stores nor resuming.

    The same clips give the same bytes.
    """

    dtype: np.dtype[Any]
    """Of the tokens that ``write_clips`` is given."""
    companions: Sequence[Companion]

    def check(self, contents: ExportContents) -> None:
        """Raise UsageError where this form cannot hold such clips."""
        ...

    def clips_within(self, max_bytes: int) -> int:
        """Bytes that clips may take in a file of at most ``max_bytes``."""
        ...

    def clip_sizes(self, rows: pa.Table) -> Iterable[int]:
        """Bytes that each clip adds to a file."""
        ...

    def file_name(self, number: int, num_files: int) -> str:
        """Name of a file, relative to the export's folder; names sort as the clips."""
        ...

    def write_clips(self, path: Path, clips: Iterator[ExportedClip]) -> None:
        """Write one file."""
        ...


def token_counts(rows: pa.Table) -> list[int]:
    """Tokens of each clip."""
    frames, height, width = (rows.column(name).to_numpy().astype(np.int64) for name in SHAPE_COLUMNS)
    return (frames * height * width).tolist()
