"""Draws a grid of held-out pictures and their reconstructions during training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitmill.schemas.staged_file import staged

_GAP_PX = 4
_COLUMNS = 8


def write_grid(
    originals: Sequence[npt.NDArray[np.uint8]], decoded: Sequence[npt.NDArray[np.uint8]], path: Path
) -> None:
    """Write a PNG: originals, uint8 [H, W, 3], in rows of eight, with reconstructions below each row."""
    columns = min(_COLUMNS, len(originals))
    rows = -(-len(originals) // columns)
    down, across = (max(picture.shape[axis] for picture in originals) + _GAP_PX for axis in (0, 1))
    sheet = Image.new("RGB", (columns * across - _GAP_PX, rows * (2 * down + _GAP_PX) - 2 * _GAP_PX), "white")
    for number, pair in enumerate(zip(originals, decoded, strict=True)):
        left, top = number % columns * across, number // columns * (2 * down + _GAP_PX)
        for line, picture in enumerate(pair):
            sheet.paste(Image.fromarray(picture), (left, top + line * down))
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as beside:
        sheet.save(beside, format="PNG")
