"""Writes sampled pictures to one sheet, clips as rows of frames."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

_GAP_PX = 2


def write_sheet(clips: Sequence[npt.NDArray[np.uint8]], path: Path) -> None:
    """Write clips, uint8 [T, H, W, 3] of equal size, one per row; single pictures as a square grid."""
    if len(clips[0]) > 1:
        rows = [list(clip) for clip in clips]
    else:
        columns = math.ceil(math.sqrt(len(clips)))
        rows = [[clip[0] for clip in clips[at : at + columns]] for at in range(0, len(clips), columns)]
    height, width = clips[0].shape[1:3]
    step_y, step_x = height + _GAP_PX, width + _GAP_PX
    sheet = np.full((len(rows) * step_y - _GAP_PX, max(map(len, rows)) * step_x - _GAP_PX, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet[y * step_y : y * step_y + height, x * step_x : x * step_x + width] = picture
    Image.fromarray(sheet).save(path)
