"""A stream of JPEGs without a container is a video; a photograph with something appended is a picture."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.decode.conftest import decode
from tests.support.media import real_pictures, write_motion_jpeg


def jpeg(index: int, width: int = 160, height: int = 120, mode: str = "RGB", **options: object) -> bytes:
    data = BytesIO()
    picture = Image.fromarray(real_pictures(8, width, height)[index]).convert(mode)
    picture.save(data, "JPEG", quality=92, **options)
    return data.getvalue()


@pytest.mark.parametrize("name", ["x.mjpeg", "x.mjpg", "x.jpg", "x"])
@pytest.mark.parametrize("padding", [b"", b"\0" * 5, b"\xff" * 3])
def test_a_stream_of_jpegs_is_a_video_under_any_name(tmp_path, name: str, padding: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(padding.join(jpeg(index) for index in range(8)))
    decoded = decode(path, size_px=120)
    assert (decoded.end.reason, decoded.end.facts.media) == (None, "video")
    assert decoded.pts_ms == [40 * index for index in range(8)]
    expected = np.stack(real_pictures(8, 160, 120))[:, :, 20:140].astype(int)
    assert np.abs(decoded.frames_THWC - expected).mean(axis=(1, 2, 3)).max() < 8


@pytest.mark.parametrize("num_frames", [2, 30])
def test_a_stream_as_ffmpeg_writes_it(tmp_path, num_frames: int) -> None:
    path = write_motion_jpeg(tmp_path / "x.mjpeg", real_pictures(num_frames, 160, 120), exif_orientation=1)
    decoded = decode(path)
    assert (decoded.end.reason, decoded.end.num_source_frames) == (None, num_frames)


def test_a_stream_of_large_pictures(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    data = BytesIO()
    Image.fromarray(noise).save(data, "JPEG", quality=95)
    path = tmp_path / "large.mjpeg"
    path.write_bytes(data.getvalue() * 3)
    assert decode(path).end.num_source_frames == 3


APPENDED = {
    "a preview": jpeg(0, 80, 60),
    "a depth map": jpeg(0, mode="L"),
    "another coding": jpeg(0, progressive=True),
    "a film": b"\0\0\0\x18ftypmp42",
    "a note": b"\0\0Image_UTC_Data1458170015363",
    "the beginning of an image": b"\xff\xd8\xff",
    "its own thumbnail's end": b"\xff\xd9\xff\xd8\xff\xd9",
}


@pytest.mark.parametrize("appended", APPENDED)
def test_what_is_appended_to_a_photograph_makes_no_video(tmp_path, appended: str) -> None:
    plain, path = tmp_path / "plain.jpg", tmp_path / "x.jpg"
    plain.write_bytes(jpeg(0))
    path.write_bytes(jpeg(0) + APPENDED[appended])
    decoded, expected = decode(path), decode(plain)
    assert decoded.end == expected.end
    assert np.array_equal(decoded.frames_THWC, expected.frames_THWC)


def with_segment(data: bytes, body: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def test_thumbnails_within_a_photograph_make_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(with_segment(jpeg(0), b"thumbnails" + jpeg(1, 32, 32) * 2))
    assert decode(path).end.facts.media == "image"


def test_views_that_a_photograph_lists_make_no_video(tmp_path: Path, odd) -> None:
    """Also if the list is damaged, by which Pillow takes the file for a plain JPEG."""
    data = odd("stereo.mpo").read_bytes()
    path = tmp_path / "x.jpg"
    path.write_bytes(data.replace(b"MPF\0", b"MPF\0\xff\xff", 1))
    assert decode(path).end.facts.media == "image"


def test_a_photograph_whose_xmp_lists_its_original_is_a_picture(tmp_path) -> None:
    """As phones append it to a portrait: of the same size and coding."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><Container:Directory/></x:xmpmeta>'
    (tmp_path / "a.jpg").write_bytes(jpeg(0, xmp=xmp) + jpeg(1))
    assert decode(tmp_path / "a.jpg").end.facts.media == "image"


def test_a_stream_whose_second_picture_is_erased_takes_no_time(tmp_path) -> None:
    (tmp_path / "a.mjpeg").write_bytes(jpeg(0) + jpeg(1)[:400] + b"\xff" * 3_000_000)
    assert decode(tmp_path / "a.mjpeg").end.facts.media == "video"
