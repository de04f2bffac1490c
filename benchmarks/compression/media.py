"""The pictures that every contender gets: cut and resized once, as ``tokenize`` does. T, H = W, C = 3."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.compressing.media_streams import decoded_clips
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.pixels.resize import resample
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image (a single frame) or one video."""

    name: str
    frames_THWC: Frames
    fps: float
    """0 for an image."""


def load_items(path: Path, size_px: int, *, most: int, fps: float | None, most_frames: int) -> list[Item]:
    """``most`` files, spread evenly over the listing; of a video its first ``most_frames`` sampled frames."""
    sources = find_sources(SourceSpec(paths=[str(path)])).sources
    refuse_archives(sources, purpose="the benchmark")
    if most < len(sources):
        sources = tuple(sources[number * len(sources) // most] for number in range(most))
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=fps, clip_frames=most_frames),
        limits=LimitsSpec(),
        sizes=squares(size_px),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    items: list[Item] = []
    for source in sources:
        clip = decoded_clips(source, settings)[0]
        is_image = clip.start_ns == clip.end_ns
        items.append(
            Item(
                name=source.uri.rsplit("/", 1)[-1],
                frames_THWC=clip.frames_THWC,
                fps=0.0 if is_image else clip.fps or 25.0,
            )
        )
    return items


def resized(frames_THWC: Frames, size_px: int) -> Frames:
    """Every frame by Lanczos, down or up; itself at its own size."""
    side = frames_THWC.shape[1]
    if side == size_px:
        return frames_THWC
    box = (0.0, 0.0, float(side), float(side))
    return np.stack([resample(frame, box, size_px, size_px) for frame in frames_THWC])
