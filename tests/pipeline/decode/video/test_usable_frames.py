"""Damage to keyframes: where a video then begins, which frames are kept, and what is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitmill.schemas.outcomes import Outcome, Reason
from tests.pipeline.decode.conftest import Decoded, decode
from tests.support.damage import (
    GOP,
    flipped,
    keyed_video,
    packet_places,
    spread_bits,
    without_packets,
    zeroed,
)

MS = 1_000_000
STEP_MS = 40
SECOND_GOP_MS = GOP * STEP_MS

# Frames before the second keyframe: more where leading pictures rest on the first, or where the picture is
# refreshed bit by bit from the second keyframe on.
FIRST_WHOLE = {
    "h264.mp4": 10,
    "h264.mkv": 10,
    "h264-open-gop.mp4": 10,
    "h264-refresh.mp4": 18,
    "hevc.mp4": 10,
    "hevc-open-gop.mp4": 10,
    "vp8.webm": 10,
    "vp9.webm": 10,
    "vp9.mp4": 10,
    "av1.mp4": 10,
    "mpeg2.mkv": 12,
    "mpeg4.avi": 10,
    "mpeg4-b.mp4": 12,
    "mpeg4-b.avi": 12,
    "msmpeg4.avi": 10,
    "flv1.flv": 10,
    "ffv1.mkv": 10,
}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The video of that name, made once."""
    folder = tmp_path_factory.mktemp("keyed")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else keyed_video(path)

    return make


def assert_kept(decoded: Decoded, whole: Decoded, first: int, stop: int | None = None) -> None:
    """Exactly these frames of the whole video, at their own times."""
    assert decoded.pts_ms == whole.pts_ms[first:stop]
    assert (decoded.frames_THWC == whole.frames_THWC[first:stop]).all()


def num_wrong(decoded: Decoded, whole: Decoded) -> int:
    true = dict(zip(whole.pts_ms, whole.frames_THWC, strict=True))
    frames = [frame for clip in decoded.clips for frame in clip.frames_THWC]
    return sum(
        not np.array_equal(true.get(pts), frame) for pts, frame in zip(decoded.pts_ms, frames, strict=True)
    )


@pytest.mark.parametrize("name", FIRST_WHOLE)
def test_a_first_keyframe_that_fails_is_damage(keyed, tmp_path, name: str) -> None:
    decoded = decode(zeroed(keyed(name), tmp_path / name, 0))
    assert decoded.end.reason is Reason.CORRUPT
    assert decoded.end.outcome(len(decoded.clips)) is Outcome.PARTIAL
    assert f"before {FIRST_WHOLE[name] * STEP_MS / 1000:.3f} seconds" in (decoded.end.detail or "")
    assert_kept(decoded, decode(keyed(name)), FIRST_WHOLE[name])


@pytest.mark.parametrize("name", FIRST_WHOLE)
def test_nothing_is_kept_where_the_only_keyframe_fails(tmp_path, name: str) -> None:
    (tmp_path / "zeroed").mkdir()
    source = keyed_video(tmp_path / name, GOP)
    decoded = decode(zeroed(source, tmp_path / "zeroed" / name, 0))
    assert (decoded.end.reason, decoded.clips) == (Reason.CORRUPT, [])


@pytest.mark.parametrize(
    "name", [name for name in FIRST_WHOLE if name not in ("av1.mp4", "flv1.flv", "mpeg4-b.avi")]
)
def test_a_stream_cut_in_mid_gop_begins_at_its_next_keyframe(keyed, tmp_path, name: str) -> None:
    cut = without_packets(keyed(name), tmp_path / Path(name).with_suffix(".mkv").name, 3)
    decoded = decode(cut)
    assert decoded.end.reason is None
    assert_kept(decoded, decode(keyed(name)), FIRST_WHOLE[name])


@pytest.mark.parametrize("name", ["h264.avi", "mpeg4.avi", "mpeg4-b.avi", "msmpeg4.avi"])
def test_an_avi_cut_in_mid_gop_keeps_its_times(keyed, tmp_path, name: str) -> None:
    cut = without_packets(keyed(name), tmp_path / name, 3)
    decoded = decode(cut)
    assert decoded.end.reason is None
    assert_kept(decoded, decode(keyed(name)), FIRST_WHOLE.get(name, GOP))


@pytest.mark.parametrize(
    ("name", "num_told"), [("h264.mp4", 12), ("h264-refresh.mp4", 12), ("mpeg2.mkv", 5), ("mpeg4.avi", 4)]
)
def test_one_bit_of_the_first_keyframe_that_ffmpeg_raises_on(keyed, tmp_path, name, num_told) -> None:
    """Of 16 bits in its second half; what FFmpeg does not notice is as it always was."""
    whole = decode(keyed(name))
    size = packet_places(keyed(name))[0][1]
    told = 0
    for bit in spread_bits(size // 2, 16):
        decoded = decode(flipped(keyed(name), tmp_path / name, 0, size // 2 * 8 + bit))
        assert (decoded.end.reason is None) == (decoded.pts_ms == whole.pts_ms)
        if decoded.end.reason is not None:
            told += 1
            assert decoded.end.reason is Reason.CORRUPT
            assert_kept(decoded, whole, FIRST_WHOLE[name])
    assert told >= num_told


def test_every_bit_of_hevc_that_carries_hashes_is_told(keyed, tmp_path) -> None:
    source = keyed("hevc-hashes.mp4")
    whole, size = decode(source), packet_places(source)[0][1]
    for bit in spread_bits(size // 2, 8):
        decoded = decode(flipped(source, tmp_path / source.name, 0, size // 2 * 8 + bit))
        assert decoded.end.reason is Reason.CORRUPT
        assert_kept(decoded, whole, GOP)


@pytest.mark.parametrize("packet", [0, GOP])
def test_a_damaged_keyframe_of_av1_keeps_no_garbage(keyed, tmp_path, packet: int) -> None:
    """dav1d gives it out as a picture and fails at the next packet."""
    source = keyed("av1.mp4")
    whole, size = decode(source), packet_places(source)[packet][1]
    for bit in spread_bits(size, 32):
        decoded = decode(flipped(source, tmp_path / source.name, packet, bit))
        assert decoded.end.reason is Reason.CORRUPT
        assert_kept(decoded, whole, *((GOP, None) if packet == 0 else (0, len(decoded.pts_ms))))
        assert packet == 0 or GOP - 1 <= len(decoded.pts_ms) <= GOP


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4-b.mp4", "mpeg2.mkv"])
def test_what_rests_on_a_damaged_second_packet_is_not_kept(keyed, tmp_path, name: str) -> None:
    """Where frames are reordered, it fails before the keyframe has come out of the decoder."""
    decoded = decode(zeroed(keyed(name), tmp_path / name, 1))
    assert decoded.end.reason is Reason.CORRUPT
    assert num_wrong(decoded, decode(keyed(name))) == 0


def test_a_span_is_told_of_the_damage_that_it_meets(keyed, tmp_path) -> None:
    damaged = zeroed(keyed("h264.mp4"), tmp_path / "h264.mp4", 0)
    whole = decode(keyed("h264.mp4"))
    inside = decode(damaged, span_ns=(0, 200 * MS))
    assert (inside.end.reason, inside.clips) == (Reason.CORRUPT, [])
    across = decode(damaged, span_ns=(200 * MS, 800 * MS))
    assert across.end.reason is Reason.CORRUPT
    assert_kept(across, whole, GOP, 20)
    behind = decode(damaged, span_ns=(SECOND_GOP_MS * MS, 800 * MS))
    assert behind.end.reason is None
    assert_kept(behind, whole, GOP, 20)


@pytest.mark.parametrize("packet", [0, 1, GOP + 2])
@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "hevc.mp4", "mpeg4-b.mp4"])
def test_decord_paints_over_no_damage(keyed, tmp_path, name: str, packet: int) -> None:
    size = packet_places(keyed(name))[packet][1]
    for bit in spread_bits(size // 2, 4):
        damaged = flipped(keyed(name), tmp_path / name, packet, size // 2 * 8 + bit)
        asked = decode(damaged, prefer="decord", pixel_rule=1)
        plain = decode(damaged, prefer="pyav", pixel_rule=1)
        assert (asked.end.reason, asked.pts_ms) == (plain.end.reason, plain.pts_ms)
        if plain.end.reason is not None:
            assert asked.end == plain.end
            assert (asked.frames_THWC == plain.frames_THWC).all()
