"""Pictures and animations: modes, depths, transparency, orientation, durations."""

import numpy as np
import pytest
from PIL import Image

from bitmill.pipeline.decode.images import to_rgb
from bitmill.schemas.outcomes import Reason
from tests.pipeline.decode.conftest import decode
from tests.support.media import real_pictures


def test_an_image_is_a_clip_of_one_frame_at_time_zero(odd) -> None:
    decoded = decode(odd("photo.jpg"), fps=25.0)
    (clip,) = decoded.clips
    assert (clip.start_ns, clip.end_ns, clip.fps, clip.frame_pts_ns.tolist()) == (0, 0, None, [0])
    assert (clip.source_height, clip.source_width) == (120, 160)
    assert decoded.end.facts.decoder == "pillow"


@pytest.mark.parametrize("name", ["photo.jpg", "cmyk.jpg", "rgb16.png", "stereo.mpo", "pages.tiff"])
def test_pixels_resemble_the_original(odd, name: str) -> None:
    square = decode(odd(name), size_px=120).frames_THWC[0].astype(int)
    assert np.abs(square - real_pictures(1, 160, 120)[0][:, 20:140]).mean() < 8


def test_sixteen_bits_keep_their_high_byte(odd) -> None:
    row = decode(odd("grey16.png"), size_px=120).frames_THWC[0][60, :, 0].astype(int)
    ramp = np.linspace(0, 65535, 160).round().astype(int)[20:140] >> 8
    assert np.abs(row - ramp).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "HSV"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(real_pictures(1, 160, 120)[0])
    image = image.convert("L").convert(mode) if mode.startswith("I") else image.convert(mode)
    pixels = to_rgb(image)
    assert pixels.shape == (120, 160, 3)
    assert pixels.dtype == np.uint8


def test_transparency_lies_on_white(odd) -> None:
    square = decode(odd("alpha.png"), size_px=120).frames_THWC[0]
    assert (square[:, 70:] == 255).all()
    assert square[:, :50].mean() < 250


def test_exif_orientation_turns_the_pixels(odd) -> None:
    decoded = decode(odd("exif.jpg"), size_px=120)
    upright = np.rot90(real_pictures(1, 160, 120)[0], -1)[20:140].astype(int)
    assert np.abs(decoded.frames_THWC[0] - upright).mean() < 8
    assert (decoded.clips[0].source_height, decoded.clips[0].source_width) == (160, 120)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(tmp_path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(real_pictures(1, 64, 64)[0]).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    assert (decode(path, size_px=64).frames_THWC[0] == expected).all()


def test_animations_are_sampled_by_their_durations(odd) -> None:
    every = decode(odd("animated.gif"))
    assert every.end.facts.media == "animation"
    # The third frame gives no duration: 100 ms, as browsers have it.
    assert every.pts_ms == [0, 50, 100, 200, 250, 300, 350, 400, 450, 500]
    assert every.end.facts.duration_ns == 550_000_000
    assert decode(odd("animated.gif"), fps=20.0).pts_ms[:5] == [0, 50, 100, 100, 200]


def test_an_animation_cut_off_keeps_its_good_frames(odd, tmp_path) -> None:
    data = odd("animated.gif").read_bytes()
    path = tmp_path / "cut.gif"
    path.write_bytes(data[: int(len(data) * 0.6)])
    decoded = decode(path)
    assert decoded.end.reason is Reason.TRUNCATED
    assert 1 <= len(decoded.pts_ms) < 10


def test_a_damaged_header_is_corrupt_not_unknown(tmp_path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    assert decode(path).end.reason is Reason.CORRUPT


def test_floats_have_no_white(tmp_path) -> None:
    path = tmp_path / "x.tiff"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    assert decode(path).end.reason is Reason.UNSUPPORTED_CODEC
