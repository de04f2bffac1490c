"""The benchmark of rate and distortion: every contender's file is whole, and BD-rates mean what they say."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.compression.curves import bd_rate
from benchmarks.compression.media import Frames, Item, load_items, resized
from benchmarks.compression.ours import Ours, SizedTokenizers
from benchmarks.compression.scoring import Point, measure
from benchmarks.compression.stills import STILLS
from benchmarks.compression.videos import VIDEOS
from bitmill.pipeline.load_tokenizer import load_tokenizer
from tests.bsq_model.small import random_tokenizer
from tests.support.media import real_pictures, write_video


def _frames(num_frames: int, size_px: int) -> Frames:
    return np.stack(real_pictures(num_frames, size_px, size_px))


def _points(name: str, scale: float = 1.0, count: int = 5) -> list[Point]:
    return [
        Point(
            contender=name,
            setting=number,
            bits_per_pixel=scale * 0.1 * 2**number,
            psnr_db=25.0 + 3 * number,
            ms_ssim=1 - 0.2 / 2**number,
            lpips=0.5 / 2**number,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("metric", ["psnr_db", "ms_ssim", "lpips"])
def test_half_of_the_bits_for_the_same_quality_is_minus_fifty_percent(metric):
    delta = bd_rate(_points("anchor"), _points("half", 0.5), metric)
    assert delta is not None
    assert delta.percent == pytest.approx(-50, abs=0.01)
    assert delta.overlap == pytest.approx(1)


def test_no_rate_is_told_of_too_few_points_or_of_qualities_apart():
    assert bd_rate(_points("anchor"), _points("short", count=3), "psnr_db") is None
    better = [Point(**{**vars(point), "psnr_db": point.psnr_db + 50}) for point in _points("apart")]
    assert bd_rate(_points("anchor"), better, "psnr_db") is None


@pytest.mark.parametrize("codec", STILLS, ids=lambda codec: codec.name)
def test_a_stills_file_shows_the_picture_in_fewer_bytes_the_lower_its_quality(codec):
    item = Item(name="a", frames_THWC=_frames(1, 192), fps=0.0)
    low, high = (measure(codec, [item], codec.settings[place], None) for place in (0, -1))
    assert low.bits_per_pixel < high.bits_per_pixel < 24
    assert 15 < low.psnr_db < high.psnr_db
    assert low.ms_ssim is not None
    assert high.ms_ssim is not None
    assert low.ms_ssim < high.ms_ssim <= 1


def test_bits_are_those_of_the_whole_file():
    picture = _frames(1, 48)
    codec = STILLS[0]
    file = io.BytesIO()
    Image.fromarray(picture[0]).save(file, format="JPEG", quality=25, optimize=True)
    point = measure(codec, [Item(name="a", frames_THWC=picture, fps=0.0)], 25, None)
    assert point.bits_per_pixel == 8 * len(file.getvalue()) / 48**2
    assert point.ms_ssim is None


@pytest.mark.parametrize("codec", VIDEOS, ids=lambda codec: codec.name)
def test_a_videos_file_has_every_frame(codec):
    frames = _frames(6, 96)
    coded = codec.code(Item(name="a", frames_THWC=frames, fps=12.0), codec.settings[0])
    assert coded.frames_THWC.shape == frames.shape
    assert 0 < coded.num_bytes < frames.size / 4
    assert np.abs(coded.frames_THWC.astype(int) - frames).mean() < 12


def test_ours_is_a_stream_that_was_read_back(tmp_path):
    tokenizer = random_tokenizer()
    ours = Ours(tokenizers=SizedTokenizers("t", tokenizer), prior=None, settings=(24, 48))
    item = Item(name="a", frames_THWC=_frames(1, 48), fps=0.0)
    coded = ours.code(item, 48)
    assert coded.frames_THWC.shape == item.frames_THWC.shape
    small = ours.code(item, 24)
    assert small.num_bytes < coded.num_bytes
    assert small.frames_THWC.shape == item.frames_THWC.shape


@pytest.mark.slow
def test_a_tokenizer_of_any_size_codes_clips_of_any_length_without_tiles():
    tokenizers = SizedTokenizers("small", load_tokenizer("small"))
    assert tokenizers.takes_video
    ours = Ours(tokenizers=tokenizers, prior=None, settings=(48, 64))
    item = Item(name="a", frames_THWC=_frames(7, 64), fps=12.0)
    for setting in ours.settings:
        coded = ours.code(item, setting)
        assert coded.frames_THWC.shape == item.frames_THWC.shape
        assert np.abs(coded.frames_THWC.astype(int) - item.frames_THWC).mean() < 60


@pytest.mark.slow
def test_all_get_the_same_squares_of_some_files_and_the_first_frames_of_videos(tmp_path):
    for number in range(5):
        Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / f"{number}.png")
    items = load_items(tmp_path, 32, most=2, fps=None, most_frames=9)
    assert [(item.name, item.frames_THWC.shape, item.fps) for item in items] == [
        ("0.png", (1, 32, 32, 3), 0.0),
        ("2.png", (1, 32, 32, 3), 0.0),
    ]
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", real_pictures(12, 48, 32), codec="libx264")
    (video,) = load_items(tmp_path / "videos", 32, most=2, fps=None, most_frames=9)
    assert video.frames_THWC.shape == (9, 32, 32, 3)
    assert video.fps > 0
    assert resized(video.frames_THWC, 16).shape == (9, 16, 16, 3)
