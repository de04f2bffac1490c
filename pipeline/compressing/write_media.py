"""Writes restored frames as PNG, lossless video (FFV1 in MKV) or widely playable video (H.264 in MP4)."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from bitmill.schemas.arrays import Frames
from bitmill.schemas.errors import UsageError

_STILL_FPS = 1.0
_MP4_OPTIONS = {"crf": "10", "preset": "medium"}


def write_png(clips: Sequence[Frames], fps: float, path: Path) -> None:
    """Write the only frame. Raises UsageError if there are several."""
    del fps
    if len(clips) != 1 or len(clips[0]) != 1:
        raise UsageError(
            f"The stream contains {sum(map(len, clips))} frames, a PNG only one; end OUT in .mkv or .mp4."
        )
    Image.fromarray(clips[0][0]).save(path, format="PNG")


def write_mkv(clips: Sequence[Frames], fps: float, path: Path) -> None:
    """Write FFV1, which is lossless."""
    _write_video(clips, fps, path, container="matroska", codec="ffv1", pixels="bgr0", options={})


def write_mp4(clips: Sequence[Frames], fps: float, path: Path) -> None:
    """Write H.264 at CRF 10, 4:2:0, which is lossy. Odd sides lose their last line."""
    even = [clip[:, : clip.shape[1] // 2 * 2, : clip.shape[2] // 2 * 2] for clip in clips]
    _write_video(even, fps, path, container="mp4", codec="libx264", pixels="yuv420p", options=_MP4_OPTIONS)


WRITERS: dict[str, Callable[[Sequence[Frames], float, Path], None]] = {
    ".png": write_png,
    ".mkv": write_mkv,
    ".mp4": write_mp4,
}
"""Writers by the suffix of OUT."""


def _write_video(
    clips: Sequence[Frames],
    fps: float,
    path: Path,
    *,
    container: str,
    codec: str,
    pixels: str,
    options: dict[str, str],
) -> None:
    height, width = clips[0].shape[1:3]
    rate = Fraction(fps or _STILL_FPS).limit_denominator(1001)
    with av.open(str(path), "w", format=container) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        for clip in clips:
            for frame in clip:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        file.mux(stream.encode(None))
