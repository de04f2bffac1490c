"""A clip tells what of the source's frame it shows."""

from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.decode.conftest import decode

SIZE_PX = 48


@pytest.mark.parametrize("pixel_rule", [1, 2])
@pytest.mark.parametrize(
    ("name", "source", "crop"),
    [
        # Height and width: 120×160, turned to 160×120, and 120×160 whose pixels are twice as wide.
        ("plain.mp4", (120, 160), (48, 64, 0, 8)),
        ("rotated.mp4", (160, 120), (64, 48, 8, 0)),
        ("anamorphic.mp4", (120, 160), (48, 128, 0, 40)),
    ],
)
def test_the_crop_is_in_the_frame_as_it_is_shown(odd, name, source, crop, pixel_rule):
    (clip, *_) = decode(odd(name), size_px=SIZE_PX, pixel_rule=pixel_rule).clips
    assert (clip.source_height, clip.source_width) == source
    assert tuple(asdict(clip.crop).values()) == crop


def test_the_crop_of_a_photo_shows_its_pixels(tmp_path):
    columns, rows = np.meshgrid(np.arange(200), np.arange(120))
    pixels = np.stack((columns, rows * 2, columns // 2 + rows), -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (clip,) = decode(tmp_path / "a.png", size_px=SIZE_PX).clips
    crop = clip.crop
    whole = Image.fromarray(pixels).resize((crop.scaled_width, crop.scaled_height), Image.Resampling.LANCZOS)
    shown = np.asarray(whole)[crop.top : crop.top + SIZE_PX, crop.left : crop.left + SIZE_PX]
    assert np.abs(shown.astype(int) - clip.frames_THWC[0]).max() <= 1
