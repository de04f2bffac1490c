"""Which decoder, as a function of facts alone."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation
from bitmill.pipeline.decode.video.choose_decoder import against_decord, choose
from bitmill.pipeline.decode.video.probe import VideoFacts

SAFE = VideoFacts(
    container="mov,mp4,m4a,3gp,3g2,mj2",
    codec="h264",
    pix_fmt="yuv420p",
    width=640,
    height=272,
    aspect=Fraction(1),
    orientation=UPRIGHT,
    interlaced=False,
    colorspace=2,
    color_range=0,
    average_fps=25.0,
    declared_frames=250,
    num_packets=250,
    num_discard=0,
    num_keyframes=2,
    num_missing_pts=0,
    start_ns=0,
    end_ns=10_000_000_000,
    origin_ns=0,
    truncated=False,
)


def test_decord_reads_safe_files_only_where_asked_for() -> None:
    assert choose(SAFE, prefer="decord", held_bytes=0) == "decord"
    assert choose(SAFE, prefer="auto", held_bytes=0) == "pyav"
    assert choose(SAFE, prefer="pyav", held_bytes=0) == "pyav"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"codec": "av1"}, "codec"),
        ({"container": "mpegts"}, "container"),
        ({"pix_fmt": "yuv420p10le"}, "8-bit"),
        ({"pix_fmt": "yuv444p"}, "8-bit"),
        ({"interlaced": True}, "interlaced"),
        ({"num_discard": 132}, "hides 132"),
        ({"declared_frames": 251}, "counts 251"),
        ({"truncated": True}, "cut off"),
        ({"num_missing_pts": 1}, "lack"),
        ({"num_packets": 0}, "no packets"),
        ({"width": 2}, "tiny"),
        ({"height": 271}, "odd"),
        ({"orientation": Orientation(True, False, True)}, "display matrix"),
    ],
)
def test_anything_odd_goes_to_pyav(change: dict[str, Any], why: str) -> None:
    facts = replace(SAFE, **change)
    assert why in (against_decord(facts, held_bytes=0) or "")
    assert choose(facts, prefer="decord", held_bytes=0) == "pyav"


def test_decord_never_holds_a_long_item() -> None:
    assert "hold" in (against_decord(SAFE, held_bytes=1 << 30) or "")
