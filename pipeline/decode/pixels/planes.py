"""Views of a decoded frame's planes, and their conversion to the tokenizer's input image.

Axes: H, W of the frame, h, w of the result, V = samples of a row, including padding.
"""

import ctypes
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from bitmill.pipeline.decode.pixels import lanczos
from bitmill.pipeline.decode.pixels.colour import coloured, scale_of
from bitmill.pipeline.decode.pixels.crop import scaled_size
from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation
from bitmill.pipeline.decode.pixels.plane_lanczos import Axis, Rows, Values, filtered, plane_taps
from bitmill.schemas.models.geometry import SizePx

_PLANAR = re.compile(r"(yuvj?4(?:20|22|44|11|40|10)p|gray|gbrp)((9|10|12|14|16)le)?")
_PAIRED = frozenset({"nv12", "p010le", "p012le", "p016le"})
"""Formats with interleaved Cb and Cr; samples of more than 8 bits are in the high bits of their words."""
_EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""With these flags swscale returns the same bits on every CPU."""
_FULL_RANGE, _LIMITED_RANGE = 2, 1


class Plane(NamedTuple):
    """Samples of a frame; ``num_samples`` > 1 means that this many planes are interleaved."""

    rows_HV: Rows
    height: int
    width: int
    num_samples: int = 1


@dataclass(frozen=True, slots=True)
class Planes:
    """The planes of a frame: Y, Cb, Cr; or red, green, blue; or grey."""

    height: int
    width: int
    planes: tuple[Plane, ...]
    """Two interleaved planes count as one here."""
    num_bits: int
    """Bits of a sample."""
    word_bits: int
    """Bits of a word, of which a sample occupies the highest."""
    matrix: int | None
    """FFmpeg's number; None for grey and RGB."""
    is_full: bool
    subsampling: tuple[int, int] = (1, 1)
    """Pixels per chroma sample, horizontally and vertically."""
    is_centred: bool = False
    """Whether chroma is sited horizontally at the centre of its pixels, not on the first one."""


@cache
def make_ready() -> None:
    """Load or compile the code, so that the first frame takes no longer than others."""
    lanczos.make_ready()
    for name in ("yuv420p", "gray16le"):
        fit(planes_of(VideoFrame(2, 2, name), VideoReformatter(), codec=""), (1, 1))


class _Form(NamedTuple):
    """Properties of a pixel format, cached because PyAV is slow to return them."""

    is_clear: bool
    """Whether it has alpha, or a palette, which may contain alpha."""
    is_read: bool
    is_rgb: bool
    num_bits: int
    word_bits: int
    num_samples: tuple[int, ...]
    """Interleaved samples of each plane."""
    subsampling: tuple[int, int]


@cache
def _form_of(name: str) -> _Form:
    form = VideoFormat(name, 16, 16)
    num_bits = form.components[0].bits
    by_plane = Counter(component.plane for component in form.components)
    return _Form(
        is_clear=form.has_palette or any(component.is_alpha for component in form.components),
        is_read=name in _PAIRED or _PLANAR.fullmatch(name) is not None,
        is_rgb=form.is_rgb,
        num_bits=num_bits,
        word_bits=16 if name in _PAIRED and num_bits > 8 else num_bits,
        num_samples=tuple(by_plane[plane] for plane in sorted(by_plane)),
        subsampling=_steps(form),
    )


def planes_of(frame: VideoFrame, reformatter: VideoReformatter, *, codec: str) -> Planes:
    """Returns views into the frame's memory, valid as long as ``frame``; composites alpha over white.

    Raises FFmpegError for formats that swscale does not support.
    """
    form = _form_of(frame.format.name)
    if form.is_clear:
        return _on_white(reformatter.reformat(frame, format="gbrap16le", interpolation=_EXACT, threads=1))
    if not form.is_read:
        frame = reformatter.reformat(frame, format=_nearest(frame.format), interpolation=_EXACT, threads=1)
        form = _form_of(frame.format.name)
    planes = _planes(frame, form)
    depth = form.num_bits, form.word_bits
    if form.is_rgb:
        green, blue, red = planes
        return Planes(frame.height, frame.width, (red, green, blue), *depth, matrix=None, is_full=True)
    if len(planes) == 1:
        # FFmpeg's default, unless the stream says otherwise.
        is_full = frame.color_range != _LIMITED_RANGE
        return Planes(frame.height, frame.width, planes, *depth, matrix=None, is_full=is_full)
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    return Planes(
        frame.height,
        frame.width,
        planes,
        *depth,
        matrix=int(frame.colorspace),
        is_full=is_full,
        subsampling=form.subsampling,
        is_centred=is_full or codec == "mpeg1video",
    )


def _nearest(form: VideoFormat) -> str:
    """Returns the planar format that represents this one without loss."""
    num_bits = max(component.bits for component in form.components)
    deep = f"{num_bits if num_bits in (9, 10, 12, 14) else 16}le" if num_bits > 8 else ""
    if form.is_rgb or form.name.startswith("xyz"):
        return "gbrp16le" if num_bits > 8 else "gbrp"
    if len(form.components) < 3:
        return "gray16le" if num_bits > 8 else "gray"
    ratio = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (4, 1): "411", (1, 2): "440"}.get(
        _steps(form), "444"
    )
    return f"yuv{ratio}p{deep}"


def _steps(form: VideoFormat) -> tuple[int, int]:
    """Returns the pixels per chroma sample, horizontally and vertically."""
    return 16 // form.chroma_width(16), 16 // form.chroma_height(16)


def _planes(frame: VideoFrame, form: _Form) -> tuple[Plane, ...]:
    kind = np.uint16 if form.num_bits > 8 else np.uint8
    return tuple(
        Plane(_rows(plane, kind), plane.height, plane.width, num_samples)
        for plane, num_samples in zip(frame.planes, form.num_samples, strict=True)
    )


def _rows(plane: VideoPlane, kind: type[np.uint8] | type[np.uint16]) -> Rows:
    """Returns [H, V], read-only; copies a plane that is stored bottom-up."""
    # PyAV's stubs do not declare that a plane is a buffer.
    memory: Any = plane
    if plane.line_size < 0:
        lowest = plane.buffer_ptr + plane.line_size * (plane.height - 1)
        memory = (ctypes.c_uint8 * plane.buffer_size).from_address(lowest)
    rows_HV: Rows = np.frombuffer(memory, kind).reshape(plane.height, -1)
    if plane.line_size < 0:
        rows_HV = rows_HV[::-1].copy()
    rows_HV.flags.writeable = False
    return rows_HV


def _on_white(frame: VideoFrame) -> Planes:
    """Composites over white; returns 16-bit RGB planes."""
    green, blue, red, alpha = (plane.rows_HV for plane in _planes(frame, _form_of(frame.format.name)))
    opaque = 65535
    colours: list[Plane] = []
    for rows_HV in (red, green, blue):
        mixed = rows_HV.astype(np.uint32) * alpha + np.uint32(opaque) * (opaque - alpha.astype(np.uint32))
        laid = ((mixed + opaque // 2) // opaque).astype(np.uint16)
        laid.flags.writeable = False
        colours.append(Plane(laid, frame.height, frame.width))
    return Planes(frame.height, frame.width, tuple(colours), 16, 16, None, is_full=True)


def drawn(planes: Planes, across: Axis, down: Axis) -> npt.NDArray[np.uint8]:
    """Returns [h, w, 3] RGB of the part of the frame that the axes select, C-contiguous."""
    values: list[Values] = []
    for index, plane in enumerate(planes.planes):
        is_difference = planes.matrix is not None and index > 0
        step_x, step_y = planes.subsampling if is_difference else (1, 1)
        # The first pixel's centre is half a pixel from the edge: 0.5 / step in samples of this plane.
        offset_x = 0.0 if planes.is_centred else 0.5 - 0.5 / step_x
        found_Shw = filtered(
            plane.rows_HV,
            plane_taps(across, plane.width, step_x, offset_x),
            plane_taps(down, plane.height, step_y, 0.0),
            num_bits=planes.word_bits,
            num_samples=plane.num_samples,
        )
        values.extend(found_Shw)
    return coloured(values, scale_of(num_bits=planes.num_bits, is_full=planes.is_full, matrix=planes.matrix))


def fit(
    planes: Planes, size: SizePx, aspect: Fraction = Fraction(1), orientation: Orientation = UPRIGHT
) -> npt.NDArray[np.uint8]:
    """Returns [*size, 3], C-contiguous, upright: the least that covers ``size`` as displayed, its centre.

    ``aspect`` is the pixel aspect ratio of the frame before rotation, ``size`` (height, width) after it.
    """
    rows, columns = size
    flip_x, flip_y = orientation.flip_x, orientation.flip_y
    if orientation.transpose:
        rows, columns, flip_x, flip_y = columns, rows, flip_y, flip_x
    width, height = scaled_size(planes.width, planes.height, aspect, (rows, columns))
    across = Axis(planes.width, width, _first(width, columns, flip_x), columns)
    down = Axis(planes.height, height, _first(height, rows, flip_y), rows)
    return np.ascontiguousarray(orientation.apply(drawn(planes, across, down)))


def _first(scaled: int, size_px: int, is_flipped: bool) -> int:
    """Returns the crop's first pixel in the resized frame, counted from the other end if flipped."""
    first = round((scaled - size_px) / 2)
    return scaled - size_px - first if is_flipped else first
