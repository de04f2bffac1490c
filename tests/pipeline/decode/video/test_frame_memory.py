"""Native frames are freed as soon as they are drawn: those of one clip of 8K video would fill the memory."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

import av
import pytest
from av.video.frame import VideoFrame

from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.video.display_matrix import orientation_of
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec


@contextmanager
def no_collection() -> Generator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def frames_alive() -> int:
    """Of those made since the last collection: a look through all objects takes a tenth of a second."""
    return sum(type(thing) is VideoFrame for thing in gc.get_objects(generation=0))


@pytest.mark.parametrize("pixel_rule", [1, 2])
@pytest.mark.parametrize("name", ["plain.mp4", "rotated.mp4", "vp9.webm", "av1.mp4"])
@pytest.mark.parametrize("fps", [None, 5.0])
def test_frames_do_not_outlive_their_drawing(odd, name: str, pixel_rule, fps: float | None) -> None:
    events = decode_item(
        str(odd(name)),
        span_ns=(None, None),
        sampling=SamplingSpec(fps=fps, clip_frames=10, seek=fps is not None),
        sizes=squares(64),
        limits=LimitsSpec(),
        pixel_rule=pixel_rule,
    )
    with no_collection():
        alive = [frames_alive() for _ in events]
    assert len(alive) > 1
    # One being read, one held back by the reader, two by sampling, one by cutting, and the last one drawn.
    assert 1 <= max(alive) <= 6


def test_reading_a_frame_s_orientation_does_not_keep_it(odd) -> None:
    path = odd("rotated.mp4")
    with no_collection(), av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert orientation_of(frame).transpose
            assert frames_alive() >= 1
        del frame
        assert frames_alive() <= 1
