"""Shows a preview's clips as a video or a contact sheet, with names and times."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bitmill.pipeline.inspection.make_preview import PreviewClip
from bitmill.schemas.arrays import Frames
from bitmill.schemas.models.geometry import SizePx

_GAP_PX = 4
_LABEL_PX = 16
_LEAST_FONT_PX = 10
_DEFAULT_FPS = 8.0
T = TypeVar("T")


def side_by_side(clip: PreviewClip) -> Frames:
    """Returns uint8 [T, H', W', 3] with even sides: original left, if available, and decoded right.

    Each is in the middle of a white box of ``box_px``, so that clips of several sizes have frames of one.
    Above them are the clip's name, the time of the frame in its source, and what each one is.
    """
    panes = [] if clip.original_THWC is None else [("original", clip.original_THWC)]
    panes += [("decoded", clip.decoded_THWC)]
    boxed = [_boxed(pane, clip.box_px) for _, pane in panes]
    gap = np.full((*boxed[0].shape[:2], _GAP_PX, 3), 255, dtype=np.uint8)
    canvas = np.concatenate([part for pane in boxed for part in (pane, gap)][:-1], axis=2)
    times = [""] * len(canvas) if clip.is_image else [f"{pts_ns / 1e9:.3f} s" for pts_ns in clip.pts_ns]
    names = [name for name, _ in panes]
    heads = [_head(clip.name, time, names, canvas.shape[2], clip.box_px) for time in times]
    canvas = np.concatenate([np.stack(heads), canvas], axis=1)
    return np.pad(canvas, ((0, 0), (0, canvas.shape[1] % 2), (0, canvas.shape[2] % 2), (0, 0)))


def _head(name: str, time: str, panes: list[str], width: int, box_px: SizePx) -> Frames:
    """Two lines of text, in proportion to the frames: uint8 [H, W, 3]; without what has no room."""
    font_px = max(_LEAST_FONT_PX, box_px[0] // 24)
    font, line_px = ImageFont.load_default(font_px), font_px * 3 // 2
    picture = Image.new("RGB", (width, 2 * line_px), "white")
    draw = ImageDraw.Draw(picture)
    room = width - 2 - font.getlength(time)
    draw.text((2, 1), _fitting(_drawable(name), font, room - font_px), fill="black", font=font)
    draw.text((room, 1), time, fill="black", font=font)
    for column, pane in enumerate(panes if font.getlength("original") < box_px[1] else []):
        draw.text((2 + column * (box_px[1] + _GAP_PX), line_px), pane, fill="grey", font=font)
    return np.asarray(picture)


def _drawable(text: str) -> str:
    """The text with escapes for what Pillow's own font lacks."""
    return text.encode("ascii", "backslashreplace").decode()


def _fitting(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", room: float) -> str:
    """The text, or its beginning and its end, which for files tells more than the middle."""
    short, kept = text, len(text)
    while kept and font.getlength(short) > room:
        kept -= 1
        short = f"{text[: kept // 2]}…{text[len(text) - (kept + 1) // 2 :]}"
    return short if kept else ""


def _boxed(frames_THWC: Frames, box_px: SizePx) -> Frames:
    margins = [(room - side) // 2 for room, side in zip(box_px, frames_THWC.shape[1:3], strict=True)]
    boxed = np.full((len(frames_THWC), *box_px, 3), 255, dtype=np.uint8)
    inner = [slice(at, at + side) for at, side in zip(margins, frames_THWC.shape[1:3], strict=True)]
    boxed[:, inner[0], inner[1]] = frames_THWC
    return boxed


def write_video(clips: Iterator[PreviewClip], path: Path) -> list[PreviewClip]:
    """Write clips one after another as H.264 in MP4, images for 1 s each. Returns the clips written."""
    written: list[PreviewClip] = []
    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for clip in clips:
            frames = side_by_side(clip)
            if stream is None:
                rate = Fraction(clip.fps or _DEFAULT_FPS).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
                stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            if frames.shape[2] != stream.width:
                missing = stream.width - frames.shape[2]
                frames = np.pad(frames, ((0, 0), (0, 0), (max(0, missing), 0), (0, 0)))[:, :, : stream.width]
            for frame in np.repeat(frames, round(_DEFAULT_FPS) if clip.is_image else 1, axis=0):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
            written.append(clip)
        if stream is not None:
            container.mux(stream.encode(None))
    return written


def write_sheet(clips: Iterator[PreviewClip], path: Path, *, max_frames: int = 8) -> list[PreviewClip]:
    """Write clips as a PNG contact sheet: originals above decoded frames. Returns the clips written.

    Of a pyramid that was decoded scale by scale, the original and then the scales from left to right.
    """
    written: list[PreviewClip] = []
    rows: list[Image.Image] = []
    for clip in clips:
        rows.append(_sheet_row(clip, max_frames))
        written.append(clip)
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(path, format="PNG")
    return written


def _sheet_row(clip: PreviewClip, max_frames: int) -> Image.Image:
    chosen = _evenly(list(range(len(clip.decoded_THWC))), max_frames)
    panes = [] if clip.original_THWC is None else [("original", clip.original_THWC)]
    panes += [*_evenly(list(clip.scales.items()), max_frames - 1), ("decoded", clip.decoded_THWC)]
    pictures = [[pane[frame] for frame in chosen] for _, pane in panes]
    names: list[str] = []
    if clip.scales:
        pictures, names = [list(line) for line in zip(*pictures, strict=True)], [name for name, _ in panes]
    step_y, step_x = (size + _GAP_PX for size in clip.decoded_THWC.shape[1:3])
    top = _LABEL_PX * (2 if names else 1)
    text = f"{_drawable(clip.name)}  from {clip.start_ns / 1e9:.3f} s  {clip.clip_id}"
    room = max(len(pictures[0]) * step_x, 4 + int(ImageFont.load_default().getlength(text)))
    row = Image.new("RGB", (room, top + len(pictures) * step_y), "white")
    draw = ImageDraw.Draw(row)
    draw.text((2, 2), text, fill="black")
    for column, name in enumerate(names):
        draw.text((column * step_x + 2, _LABEL_PX + 2), name, fill="black")
    for line, across in enumerate(pictures):
        for column, picture in enumerate(across):
            row.paste(Image.fromarray(picture), (column * step_x, top + line * step_y))
    return row


def _evenly(found: list[T], most: int) -> list[T]:
    """At most so many, evenly spaced, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))
    return [found[number] for number in chosen]
