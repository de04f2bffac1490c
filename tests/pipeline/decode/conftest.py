"""Odd files, each made once a session, and one way to decode them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes, squares
from bitmill.pipeline.decode.sampling.timeline import Span
from bitmill.pipeline.decode.video.choose_decoder import Preference
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE, PixelRule
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.support.media import ODD_FILES


@dataclass(frozen=True)
class Decoded:
    """All of an item's events."""

    clips: list[DecodedClip]
    end: ItemEnd

    @property
    def frames_THWC(self) -> npt.NDArray[np.uint8]:
        return np.concatenate([clip.frames_THWC for clip in self.clips])

    @property
    def pts_ms(self) -> list[int]:
        return [round(int(pts) / 1e6) for clip in self.clips for pts in clip.frame_pts_ns]


def decode(
    path: Path,
    *,
    span_ns: Span = (None, None),
    fps: float | None = None,
    clip_frames: int = 16,
    min_frames: int = 1,
    size_px: int = 64,
    sizes: FrameSizes | None = None,
    limits: LimitsSpec | None = None,
    prefer: Preference = "auto",
    pixel_rule: PixelRule = NEWEST_PIXEL_RULE,
) -> Decoded:
    sampling = SamplingSpec(fps=fps, clip_frames=clip_frames, min_frames=min_frames)
    *clips, end = decode_item(
        str(path),
        span_ns=span_ns,
        sampling=sampling,
        sizes=sizes or squares(size_px),
        limits=limits or LimitsSpec(),
        pixel_rule=pixel_rule,
        prefer=prefer,
    )
    assert isinstance(end, ItemEnd)
    kept = [clip for clip in clips if isinstance(clip, DecodedClip)]
    assert len(kept) == len(clips)
    return Decoded(kept, end)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The odd file of that name."""
    folder = tmp_path_factory.mktemp("odd")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else ODD_FILES[name].make(path)

    return make
