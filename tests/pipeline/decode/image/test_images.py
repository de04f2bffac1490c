"""Pictures and animations: modes, depths, transparency, orientation, durations."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitmill.pipeline.decode.image.images import to_rgb
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


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_an_animated_webp_cut_off_keeps_its_whole_frames(odd, tmp_path, share: float) -> None:
    data, whole = odd("animated.webp").read_bytes(), decode(odd("animated.webp"))
    path = tmp_path / "cut.webp"
    path.write_bytes(data[: int(len(data) * share)])
    decoded = decode(path)
    num_frames = data[: int(len(data) * share)].count(b"ANMF") - 1
    assert decoded.end.reason is Reason.TRUNCATED
    assert decoded.end.facts.media == "animation"
    assert decoded.pts_ms == whole.pts_ms[:num_frames]
    assert np.array_equal(decoded.frames_THWC, whole.frames_THWC[:num_frames])


def test_one_whole_frame_of_an_animation_is_still_one(odd, tmp_path) -> None:
    data = odd("animated.webp").read_bytes()
    path = tmp_path / "cut.webp"
    path.write_bytes(data[: data.index(b"ANMF", data.index(b"ANMF") + 4)])
    decoded = decode(path)
    assert (decoded.end.reason, decoded.end.facts.media) == (Reason.TRUNCATED, "animation")
    assert (decoded.clips[0].start_ns, decoded.clips[0].end_ns) == (0, 40_000_000)


def saved(path: Path, **options: Any) -> Path:
    Image.fromarray(real_pictures(1, 64, 48)[0]).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["webp", "avif", "jpg", "png", "bmp", "tiff"])
def test_a_picture_cut_off_is_truncated_wherever_it_is_cut(tmp_path, suffix: str) -> None:
    data = saved(tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for num_bytes in range(len(data) // 2, len(data) - 12, max(1, len(data) // 20)):
        path.write_bytes(data[:num_bytes])
        assert decode(path).end.reason is Reason.TRUNCATED


def test_what_would_turn_an_animation_may_be_lost_with_its_end(tmp_path) -> None:
    path = animation(tmp_path / "x.webp", 6)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"EXIF")])
    decoded = decode(path)
    assert (decoded.end.reason, decoded.clips) == (Reason.TRUNCATED, [])


def test_a_damaged_webp_is_not_truncated(odd, tmp_path) -> None:
    data = bytearray(odd("animated.webp").read_bytes())
    middle = data.index(b"VP8 ", len(data) // 2)
    data[middle + 8 : middle + 40] = b"\xff" * 32
    path = tmp_path / "damaged.webp"
    path.write_bytes(data)
    decoded = decode(path)
    assert decoded.end.reason is Reason.CORRUPT


def animation(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    first, *rest = [Image.fromarray(picture) for picture in real_pictures(3, 64, 48)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=40, exif=exif, **options)
    return path


@pytest.mark.parametrize("suffix", ["webp", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_animations_are_turned_as_their_exif_says(tmp_path, suffix: str, orientation: int) -> None:
    decoded = decode(animation(tmp_path / f"x.{suffix}", orientation), size_px=48)
    for frame, picture in zip(decoded.frames_THWC, real_pictures(3, 64, 48), strict=True):
        still = Image.fromarray(picture)
        still.getexif()[0x0112] = orientation
        turned = saved(tmp_path / "still.png", exif=still.getexif())
        still.save(turned, exif=still.getexif())
        assert (frame == decode(turned, size_px=48).frames_THWC[0]).all()
    shown = (48, 64) if orientation < 5 else (64, 48)
    assert (decoded.clips[0].source_height, decoded.clips[0].source_width) == shown
    assert (decoded.end.facts.height, decoded.end.facts.width) == shown


def chunks(data: bytes) -> list[bytes]:
    """Of a PNG, whole; its signature is the first."""
    found, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at:end])
        at = end
    return found


def test_exif_behind_an_animation_s_frames_turns_them(tmp_path) -> None:
    path = animation(tmp_path / "x.png", 6)
    expected = decode(path)
    parts = chunks(path.read_bytes())
    (exif,) = (part for part in parts if part[4:8] == b"eXIf")
    parts.remove(exif)
    path.write_bytes(b"".join([*parts[:-1], exif, parts[-1]]))
    decoded = decode(path)
    assert (decoded.end.facts.height, decoded.end.facts.width) == (64, 48)
    assert np.array_equal(decoded.frames_THWC, expected.frames_THWC)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bare_png(path: Path, depth: int, colour: int, pixels: bytes, transparent: bytes) -> Path:
    """A PNG whose rows are all ``pixels``, with a colour that is transparent; colour 0 is grey, 2 is RGB."""
    width = len(pixels) * 8 // depth // (3 if colour == 2 else 1)
    header = struct.pack(">IIBBBBB", width, width, depth, colour, 0, 0, 0)
    body = zlib.compress((b"\0" + pixels) * width)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", transparent), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("depth", "pixels", "transparent", "kept"),
    [
        (1, b"\x0f", 1, 0),
        (2, b"\x55\xaa", 1, 170),
        (4, b"\x33\x33\xaa\xaa", 3, 170),
        (8, b"\x30" * 4 + b"\xa0" * 4, 0x30, 160),
        (16, b"\x30\x01" * 4 + b"\xa0\x02" * 4, 0x3001, 160),
    ],
)
def test_a_transparent_grey_is_white_at_every_depth(tmp_path, depth, pixels, transparent, kept) -> None:
    path = bare_png(tmp_path / "x.png", depth, 0, pixels, struct.pack(">H", transparent))
    row = decode(path, size_px=8).frames_THWC[0, 0, :, 0].tolist()
    assert row in ([255] * 4 + [kept] * 4, [kept] * 4 + [255] * 4)


def test_of_sixteen_bits_only_the_transparent_grey_itself_is_white(tmp_path) -> None:
    path = bare_png(tmp_path / "x.png", 16, 0, b"\x30\x01" * 4 + b"\x30\x02" * 4, b"\x30\x02")
    assert decode(path, size_px=8).frames_THWC[0, 0, :, 0].tolist() == [0x30] * 4 + [255] * 4


def test_a_transparent_colour_of_sixteen_bits_is_told_apart_or_refused(tmp_path) -> None:
    pixels = b"\x12\x34\x56\x78\x9a\xbc" * 8
    unused = bare_png(tmp_path / "a.png", 16, 2, pixels, b"\0\x12\0\x56\0\x9a")
    assert (decode(unused, size_px=8).frames_THWC[0] == [0x12, 0x56, 0x9A]).all()
    used = bare_png(tmp_path / "b.png", 16, 2, pixels, pixels[:6])
    end = decode(used, size_px=8).end
    assert end.reason is Reason.UNSUPPORTED_CODEC
    assert end.detail == "Pixels of 16 bits may be transparent, which the decoder does not tell."


def bare_tiff(path: Path, bits: int, photometric: int, data: bytes) -> Path:
    """An 8×8 grey TIFF without compression."""
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 8, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@pytest.mark.parametrize(
    ("bits", "photometric", "pair", "level"),
    [
        (8, 0, b"\x30\x30", 0xCF),
        (8, 1, b"\x30\x30", 0x30),
        (12, 1, b"\x30\x13\x01", 0x30),
        (12, 1, b"\xff\xff\xff", 0xFF),
        (16, 0, b"\x01\x30" * 2, 0xCF),
        (16, 0, b"\xff\xff" * 2, 0),
        (16, 1, b"\x01\x30" * 2, 0x30),
    ],
)
def test_a_grey_tiff_of_any_depth_and_sense(tmp_path, bits, photometric, pair, level) -> None:
    path = bare_tiff(tmp_path / "x.tiff", bits, photometric, pair * 32)
    assert (decode(path, size_px=8).frames_THWC == level).all()


LARGE = b"x" * (3 << 20)
NOTES = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE)),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + zlib.compress(LARGE)),
    "tEXt": chunk(b"tEXt", b"Comment\0" + LARGE) * 23,
    "a packing that nobody knows": chunk(b"zTXt", b"Comment\0\7" + b"1234"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("note", NOTES)
def test_a_png_s_notes_say_nothing_of_its_pixels(tmp_path, note: str, behind: bool) -> None:
    plain = saved(tmp_path / "plain.png")
    *parts, end = chunks(plain.read_bytes())
    with_note = [*parts, NOTES[note], end] if behind else [*parts[:2], NOTES[note], *parts[2:], end]
    path = tmp_path / "noted.png"
    path.write_bytes(b"".join(with_note))
    decoded = decode(path)
    assert decoded.end.reason is None, decoded.end.detail
    assert np.array_equal(decoded.frames_THWC, decode(plain).frames_THWC)


def test_notes_that_pillow_takes_are_left_to_it(tmp_path) -> None:
    """XMP in a text, which may say how the picture is turned, among them."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    *parts, end = chunks(saved(tmp_path / "plain.png").read_bytes())
    note = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    path = tmp_path / "noted.png"
    path.write_bytes(b"".join([*parts[:2], note, NOTES["zTXt"], *parts[2:], end]))
    assert (decode(path).end.facts.height, decode(path).end.facts.width) == (64, 48)


def test_a_gif_cut_anywhere_is_its_own_fault(odd, tmp_path) -> None:
    data = odd("animated.gif").read_bytes()
    path = tmp_path / "cut.gif"
    for num_bytes in range(20, len(data) - 1, len(data) // 200):
        path.write_bytes(data[:num_bytes])
        assert decode(path).end.reason in (Reason.TRUNCATED, Reason.CORRUPT)


def test_a_damaged_second_page_is_told_beside_the_first(odd, tmp_path) -> None:
    data = bytearray(odd("pages.tiff").read_bytes())
    with Image.open(odd("pages.tiff")) as image:
        image.seek(1)
        second = image.tag_v2._offset
    # Its first entries, width and height, become tags without a meaning.
    for entry in (0, 1):
        data[second + 2 + 12 * entry : second + 4 + 12 * entry] = b"\xff\xfe"
    path = tmp_path / "damaged.tiff"
    path.write_bytes(data)
    decoded = decode(path)
    assert (decoded.end.reason, len(decoded.clips)) == (Reason.CORRUPT, 1)


def test_a_damaged_header_is_corrupt_not_unknown(tmp_path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    assert decode(path).end.reason is Reason.CORRUPT


def test_floats_have_no_white(tmp_path) -> None:
    path = tmp_path / "x.tiff"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    assert decode(path).end.reason is Reason.UNSUPPORTED_CODEC
