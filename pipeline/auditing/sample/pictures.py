"""Draws a sampled clip: some frames above their reconstructions, with their times."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from bitmill.schemas.arrays import Frames

_MAX_FRAMES = 6
_GAP_PX, _LABEL_PX = 2, 14
_QUALITY = 88


def strip(original_THWC: Frames | None, decoded_THWC: Frames, frame_pts_ns: Sequence[int]) -> bytes:
    """A WebP of up to six frames from left to right, each under its time, originals above reconstructions."""
    count = len(decoded_THWC)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MAX_FRAMES)).round().astype(int)).tolist()
    panes = [decoded_THWC] if original_THWC is None else [original_THWC, decoded_THWC]
    height, width = decoded_THWC.shape[1:3]
    step_x, step_y = width + _GAP_PX, height + _GAP_PX
    top = _LABEL_PX if count > 1 else 0
    size = (len(chosen) * step_x - _GAP_PX, top + len(panes) * step_y - _GAP_PX)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, frame in enumerate(chosen):
        if count > 1:
            draw.text((column * step_x + 2, 1), time_code(frame_pts_ns[frame]), fill="black")
        for line, pane in enumerate(panes):
            canvas.paste(Image.fromarray(pane[frame]), (column * step_x, top + line * step_y))
    buffer = io.BytesIO()
    canvas.save(buffer, format="WEBP", quality=_QUALITY)
    return buffer.getvalue()


def time_code(time_ns: int) -> str:
    """``1:02:03.400``; without hours if there are none."""
    seconds, ms = divmod(round(abs(time_ns) / 1_000_000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{'-' if time_ns < 0 else ''}{start}:{seconds:02d}.{ms:03d}"
