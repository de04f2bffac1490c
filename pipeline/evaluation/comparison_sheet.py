"""Draws a sheet of originals, reconstructions, error maps and codec results at the same bit rate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bitmill.pipeline.evaluation.run_evaluation import Shown

_GAP_PX, _LABEL_PX = 4, 16
_ERROR_GAIN = 4
"""Errors are small, so a quarter of the range is shown as white."""


def error_map(original: npt.NDArray[np.uint8], made: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return each pixel's largest absolute channel difference, brightened: uint8 [H, W, 3], grey."""
    difference = np.abs(original.astype(np.int16) - made.astype(np.int16)).max(-1)
    return np.repeat(np.minimum(difference * _ERROR_GAIN, 255).astype(np.uint8)[..., None], 3, axis=-1)


def write_sheet(shown: Sequence[Shown], path: Path) -> None:
    """Write a PNG with one row per picture; labels show file names and PSNR in dB."""
    rows = [_panes(entry) for entry in shown]
    width_px = max(picture.shape[1] for row in rows for _, picture in row) + _GAP_PX
    height_px = max(picture.shape[0] for row in rows for _, picture in row) + _LABEL_PX + _GAP_PX
    sheet = Image.new("RGB", (max(len(row) for row in rows) * width_px, len(rows) * height_px), "white")
    draw = ImageDraw.Draw(sheet)
    for line, row in enumerate(rows):
        for column, (label, picture) in enumerate(row):
            left, top = column * width_px, line * height_px
            draw.text((left + 2, top + 2), _clipped(label, width_px), fill="black")
            sheet.paste(Image.fromarray(picture), (left, top + _LABEL_PX))
    sheet.save(path, format="PNG")


def _panes(entry: Shown) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    panes = [(entry.label, entry.original)]
    for number, (name, (picture, psnr_db)) in enumerate(entry.made.items()):
        panes.append((f"{name} {psnr_db:.1f} dB", picture))
        if number == 0:
            panes.append((f"error x{_ERROR_GAIN}", error_map(entry.original, picture)))
    return panes


def _clipped(label: str, width_px: int) -> str:
    # The built-in font supports only Latin-1, with about six pixels per letter.
    return label.encode("latin-1", "replace").decode("latin-1")[: max(width_px // 6, 4)]
