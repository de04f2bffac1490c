"""Exports of small datasets, and what their tokens must be."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitmill.pipeline.exporting import ExportResult, export_dataset
from bitmill.pipeline.exporting.formats.exported_clip import ExportedClip, clip_columns
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.reports.export_inventory import ExportFormat
from tests.support.datasets import expected_bits, make_dataset

LENGTHS = [[4, 4, 2], [], [1], [4, 3], [4, 4, 4, 4]]
"""Ten clips of five items, 34 frames, in three shards."""

GEOMETRY = Geometry(patch_px=(8, 8), code=Code.of_bits(18))

WIDTHS = [12, 18, 36, 64]
"""Bits of a token: an integer of 16, of 32, and of 64 bits that is not full and one that is."""


def expected_tokens(lengths: Sequence[Sequence[int]], *, bits_per_token: int) -> list[np.ndarray]:
    """Indices uint64 [T, 2, 2] of each clip of ``make_dataset``, summed from its bits."""
    weights = np.uint64(1) << np.arange(bits_per_token - 1, -1, -1, dtype=np.uint64)
    return [
        (bits.astype(np.uint64) * weights).sum(-1, dtype=np.uint64)
        for bits in expected_bits(lengths, bits_per_token=bits_per_token)
    ]


def export(
    folder: Path, export_format: ExportFormat, *, bits_per_token: int = 18, lengths=LENGTHS, **options
) -> ExportResult:
    """A dataset in ``folder/tokens``, if there is none, exported to ``folder/out``."""
    if not (folder / "tokens").exists():
        make_dataset(str(folder / "tokens"), lengths, bits_per_token=bits_per_token)
    options = {"max_bytes": 1 << 30, **options}
    return export_dataset(str(folder / "tokens"), str(folder / "out"), export_format=export_format, **options)


def made_clip(shape_THW: tuple[int, int, int], *, seed: int = 0, **columns) -> ExportedClip:
    """A clip of any shape, as a format is given it."""
    plain = dict.fromkeys(clip_columns(2))
    plain |= {"clip_id": f"{seed:032x}", "source": "/media/a.mp4", "start_ns": 0, "end_ns": 10**9}
    plain |= {"frame_pts_ns": list(range(shape_THW[0])), "source_height": 720, "source_width": 1280}
    plain |= dict(zip(("num_frames", "height", "width"), shape_THW, strict=True)) | columns
    tokens = np.random.default_rng(seed).integers(0, 2**18, shape_THW, dtype=np.uint32)
    return ExportedClip(columns=plain, tokens=tokens, num_tokens=tokens.size)


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
