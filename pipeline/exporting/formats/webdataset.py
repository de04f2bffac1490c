"""The format ``webdataset``: tars of samples, each a .npy of tokens and a .json of the rest.

webdataset's ``TarWriter`` would put the .json first and keep every member's header in memory (ADR 16).
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bitmill.pipeline.exporting.formats.base import Companion, clip_shapes, token_counts
from bitmill.pipeline.exporting.formats.clip_json import clip_json, most_json_bytes
from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip, TokenLayout
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.export_inventory import ExportContents

_BLOCK = tarfile.BLOCKSIZE
_END = 2 * _BLOCK


class WebdatasetFormat:
    """Samples are named by their clip's id, which has no dot: readers split a name at its first dot."""

    companions: Sequence[Companion] = ()

    def __init__(self, geometry: Geometry, version: int) -> None:
        self.tokens = TokenLayout.of(geometry, version)

    def check(self, contents: ExportContents) -> None:
        """Tars support any clips."""

    def clips_within(self, max_bytes: int) -> int:
        """Whole records, minus the two empty blocks that end a tar."""
        return max_bytes // tarfile.RECORDSIZE * tarfile.RECORDSIZE - _END

    def clip_sizes(self, rows: pa.Table) -> Iterable[int]:
        """Upper bound of the bytes of both members with their headers."""
        layout, sizes = self.tokens, most_json_bytes(rows).tolist()
        counts = token_counts(rows, layout.geometry)
        for shape, num_tokens, json_bytes in zip(clip_shapes(rows), counts, sizes, strict=True):
            npy_bytes = (
                len(_npy_header(layout.shape(shape), layout.dtype.str)) + num_tokens * layout.token_bytes
            )
            yield 2 * _BLOCK + _filled(npy_bytes) + _filled(json_bytes)

    def file_name(self, number: int, num_files: int) -> str:  # noqa: ARG002 - names don't tell how many
        """clips-000000.tar and so on."""
        return f"clips-{number:06d}.tar"

    def write_clips(self, path: Path, clips: Iterator[ExportedClip]) -> None:
        """Write one tar. It does not contain when, where or by whom it was written."""
        with path.open("wb") as file:
            for clip in clips:
                file.write(
                    _member(
                        f"{clip.clip_id}.npy",
                        _npy_header(clip.tokens.shape, clip.tokens.dtype.str) + clip.tokens.tobytes(),
                    )
                )
                file.write(_member(f"{clip.clip_id}.json", clip_json(clip.columns)))
            file.write(bytes(_END))
            file.write(bytes(-file.tell() % tarfile.RECORDSIZE))


def _member(name: str, data: bytes) -> bytes:
    """A member's header and data."""
    # A default TarInfo has owner 0 without a name, mode 644 and time 0.
    header = tarfile.TarInfo(name)
    header.size = len(data)
    # GNU's format supports members of any size.
    return header.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict") + data + bytes(-len(data) % _BLOCK)


@cache
def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    header: dict[str, Any] = {"descr": dtype, "fortran_order": False, "shape": shape}
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, header)
    return sink.getvalue()


def _filled(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
