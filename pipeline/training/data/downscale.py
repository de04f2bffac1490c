"""Decodes a local media file to frames downscaled for caching, as far as the largest crop allows.

Samples are always cropped from downscaled frames, cached or not, so the cache changes no pixel.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitmill.pipeline.decode.image.images import read_still
from bitmill.pipeline.decode.pixels import planes
from bitmill.pipeline.decode.pixels.crop import sane_aspect, scaled_size
from bitmill.pipeline.decode.pixels.resize import Picture, resample
from bitmill.pipeline.decode.sampling.timeline import Sample, Span, TimelineEnd, sample
from bitmill.pipeline.decode.video import pyav_reader
from bitmill.pipeline.decode.video.probe import VideoFacts
from bitmill.pipeline.decode.video.pyav_reader import PyavPicture
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.outcomes import Reason

_DRAFT_MARGIN = 2
"""JPEGs are decoded at 1/2, 1/4 or 1/8 scale as long as both sides stay this many times the short side."""

ShortSide = Callable[[float, float], int]
"""Returns the short side that a picture of this width and height is scaled down to, in pixels."""


def short_side(width: float, height: float, sizes: tuple[SizePx, ...], crop_scale: float) -> int:
    """Return the least short side with which no crop of ``sizes`` is enlarged, at this and smaller scales."""
    short = min(width, height)
    return round(
        max(max(down * short / height, across * short / width) for down, across in sizes) * crop_scale
    )


def downscaled_size(width: int, height: int, aspect: Fraction, short_px: ShortSide) -> tuple[int, int]:
    """Return (width, height) with square pixels and this short side, never enlarged."""
    shown = sane_aspect(aspect) * width
    side = max(1, min(short_px(float(shown), height), height, int(shown)))
    return scaled_size(width, height, aspect, (side, side))


def downscaled_image(image: Image.Image, path: str, short_px: ShortSide) -> Frames:
    """Return the (first) picture of an open file, upright, as [1, H, W, 3]. Raises BadItemError."""
    # It may be turned afterwards.
    enough = _DRAFT_MARGIN * max(short_px(*image.size), short_px(*image.size[::-1]))
    image.draft(None, (enough, enough))
    pixels_HWC, aspect = read_still(image, path).rgb()
    size = downscaled_size(pixels_HWC.shape[1], pixels_HWC.shape[0], aspect, short_px)
    return _downscaled(pixels_HWC, size)[None]


def downscaled_segment(
    path: str,
    facts: VideoFacts,
    *,
    span_ns: Span,
    fps: float | None,
    max_frames: int,
    least_frames: int,
    short_px: ShortSide,
    max_pixels: int,
    pixel_rule: Literal[1, 2],
) -> Frames:
    """Return sampled frames of a span of a video, [T, H, W, 3] with least_frames ≤ T ≤ max_frames.

    Ignores damage after the needed frames. Raises BadItemError: the damage, if it leaves fewer than
    ``least_frames``; TOO_SHORT if the span has fewer.
    """
    frames = pyav_reader.Frames(path, facts, span_ns=span_ns, max_pixels=max_pixels)
    samples = sample(frames, span_ns=span_ns, fps=fps, native_fps=facts.average_fps)
    pictures: list[Picture] = []
    fault: BadItemError | None = None
    for taken in _downscaled_samples(samples, short_px, pixel_rule):
        if isinstance(taken, TimelineEnd):
            fault = taken.fault
        else:
            pictures.append(taken)
            if len(pictures) == max_frames:
                break
    if len(pictures) < least_frames:
        detail = f"A segment of it has {len(pictures)} sampled frames; a clip needs {least_frames}."
        raise fault or frames.lost or BadItemError(Reason.TOO_SHORT, detail)
    return np.stack(pictures)


def _downscaled_samples(
    samples: Iterator[Sample[PyavPicture] | TimelineEnd], short_px: ShortSide, pixel_rule: Literal[1, 2]
) -> Iterator[Picture | TimelineEnd]:
    """Yield each frame's pixels, converted once even if the frame repeats; all have the first one's size."""
    size: tuple[int, int] | None = None
    held: tuple[PyavPicture, Picture] | None = None
    for taken in samples:
        if isinstance(taken, TimelineEnd):
            yield taken
            continue
        if held is None or held[0] is not taken.frame:
            drawn, size = (_by_rgb if pixel_rule == 1 else _by_planes)(taken.frame, short_px, size)
            held = (taken.frame, drawn)
        yield held[1]


def _by_rgb(
    picture: PyavPicture, short_px: ShortSide, size: tuple[int, int] | None
) -> tuple[Picture, tuple[int, int]]:
    pixels_HWC, aspect = picture.rgb()
    size = size or downscaled_size(pixels_HWC.shape[1], pixels_HWC.shape[0], aspect, short_px)
    return _downscaled(pixels_HWC, size), size


def _by_planes(
    picture: PyavPicture, short_px: ShortSide, size: tuple[int, int] | None
) -> tuple[Picture, tuple[int, int]]:
    found, aspect, orientation = picture.planes(), picture.aspect, picture.orientation
    if size is None:
        width, height = found.width, found.height
        if orientation.transpose:
            size = downscaled_size(height, width, 1 / aspect, short_px)
        else:
            size = downscaled_size(width, height, aspect, short_px)
    return planes.fit(found, (size[1], size[0]), aspect, orientation), size


def _downscaled(pixels_HWC: npt.NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    height, width = pixels_HWC.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(pixels_HWC)
    return resample(pixels_HWC, (0.0, 0.0, float(width), float(height)), *size)
