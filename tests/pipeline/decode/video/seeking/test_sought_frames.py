"""What is sought is what decoding everything gives; without a proof everything is decoded."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.sampling.timeline import SECOND_NS, Span
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.support.media import preroll_mp4, real_pictures, remux, write_video

SOUGHT = "pyav, sought"
NUM = 100
KEYS = "keyint=10:min-keyint=10:scenecut=0:log-level=none"
B_FRAMES = {"preset": "veryfast", "bf": "3", "x264-params": KEYS}
X265 = f"{KEYS}:pools=1:frame-threads=1:bframes=3"


def _options(params: str, more: str = "") -> dict[str, str]:
    return {"preset": "ultrafast", "x265-params": params + more}


SOUGHT_FILES: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": B_FRAMES},
    "h264.mkv": {"options": B_FRAMES},
    "rotated.mp4": {"options": B_FRAMES, "rotation": 90},
    "variable.mp4": {"options": B_FRAMES, "pts_ms": [40 * n + 13 * (n % 3) for n in range(NUM)]},
    "fragmented.mp4": {
        "options": B_FRAMES,
        "container_options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    },
    "hevc.mp4": {"codec": "libx265", "options": _options(X265, ":open-gop=0")},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "g": "10"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8", "g": "10"}},
}
WHOLE_FILES: dict[str, dict[str, Any]] = {
    "open.mp4": {"options": B_FRAMES | {"x264-params": f"{KEYS}:open-gop=1"}},
    "open-hevc.mp4": {"codec": "libx265", "options": _options(X265, ":open-gop=1")},
    "one-keyframe.mp4": {"options": {"g": "600"}},
    "h264.ts": {"options": B_FRAMES},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "10", "bf": "2"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeking")


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        write_video(path, real_pictures(NUM, 64, 48), **(SOUGHT_FILES | WHOLE_FILES)[name])
    return path


def _decode(
    path: Path, *, seek: bool, fps: float = 1.0, span_ns: Span = (None, None), max_frames: int = 1000
) -> tuple[list[DecodedClip], ItemEnd]:
    *clips, end = decode_item(
        str(path),
        span_ns=span_ns,
        sampling=SamplingSpec(fps=fps, clip_frames=3, seek=seek),
        sizes=squares(32),
        limits=LimitsSpec(max_frames=max_frames),
        pixel_rule=2,
    )
    assert isinstance(end, ItemEnd)
    return [clip for clip in clips if isinstance(clip, DecodedClip)], end


def _same(ours: list[DecodedClip], theirs: list[DecodedClip]) -> bool:
    return len(ours) == len(theirs) and all(
        np.array_equal(a.frames_THWC, b.frames_THWC)
        and np.array_equal(a.frame_pts_ns, b.frame_pts_ns)
        and (a.start_ns, a.end_ns, a.fps, a.crop) == (b.start_ns, b.end_ns, b.fps, b.crop)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("name", SOUGHT_FILES)
@pytest.mark.parametrize("fps", [0.7, 1.0, 2.3])
def test_sought_frames_are_those_of_decoding_everything(folder, name, fps):
    path = _file(folder, name)
    (sought, sought_end), (whole, whole_end) = (_decode(path, seek=seek, fps=fps) for seek in (True, False))
    assert sought_end.facts.decoder == SOUGHT
    assert whole_end.facts.decoder == "pyav"
    assert whole
    assert _same(sought, whole)
    assert replace(sought_end, facts=whole_end.facts) == whole_end


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_where_packets_prove_nothing_everything_is_decoded(folder, name):
    path = _file(folder, name)
    (ours, end), (whole, whole_end) = (_decode(path, seek=seek) for seek in (True, False))
    assert end == whole_end
    assert _same(ours, whole)


@pytest.mark.slow
def test_hidden_packets_and_dense_sampling_are_decoded_whole(folder):
    assert _decode(preroll_mp4(folder / "hidden.mp4"), seek=True)[1].facts.decoder == "pyav"
    assert _decode(_file(folder, "h264.mp4"), seek=True, fps=12)[1].facts.decoder == "pyav"


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.webm"])
@pytest.mark.parametrize("span_s", [(0.0, 1.3), (1.21, 3.3), (2.0, None), (None, 2.5)])
def test_spans_have_the_same_clips(folder, name, span_s):
    path = _file(folder, name)
    start_ns, end_ns = (None if at is None else round(at * SECOND_NS) for at in span_s)
    sought, end = _decode(path, seek=True, span_ns=(start_ns, end_ns))
    assert end.facts.decoder == SOUGHT
    assert _same(sought, _decode(path, seek=False, span_ns=(start_ns, end_ns))[0])


def test_the_limit_of_frames_is_the_same(folder):
    path = _file(folder, "h264.mp4")
    sought, end = _decode(path, seek=True, max_frames=2)
    whole, whole_end = _decode(path, seek=False, max_frames=2)
    assert (end.reason, end.detail) == (whole_end.reason, whole_end.detail)
    assert _same(sought, whole)


def test_a_file_that_begins_in_mid_gop_is_decoded_whole(folder, tmp_path):
    # Copying leaves out the first packet, whose decoding time Matroska does not tell.
    path = remux(_file(folder, "h264.mkv"), tmp_path / "cut.mkv", until_s=Fraction(3))
    (ours, end), (whole, whole_end) = (_decode(path, seek=seek) for seek in (True, False))
    assert end == whole_end
    assert _same(ours, whole)


def _spoilt(path: Path, target: Path, place: int) -> Path:
    """The file with zeros in the middle of a packet, numbered in decoding order."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    packet = packets[place]
    assert packet.pos is not None
    at = packet.pos + 12
    data[at : packet.pos + packet.size] = bytes(packet.size - 12)
    target.write_bytes(data)
    return target


def test_damage_in_what_is_skipped_is_not_noticed(folder, tmp_path):
    path = _file(folder, "h264.mp4")
    spoilt = _spoilt(path, tmp_path / "spoilt.mp4", 17)
    assert _decode(spoilt, seek=False)[1].reason is Reason.CORRUPT
    sought, end = _decode(spoilt, seek=True)
    assert (end.reason, end.facts.decoder) == (None, SOUGHT)
    assert _same(sought, _decode(path, seek=False)[0])


def test_damage_in_what_is_read_ends_the_item_as_without_seeking(folder, tmp_path):
    spoilt = _spoilt(_file(folder, "h264.mp4"), tmp_path / "spoilt.mp4", 50)
    (ours, end), (whole, whole_end) = (_decode(spoilt, seek=seek) for seek in (True, False))
    # Frames that the decoder had not yet returned count as present: their packets were.
    assert end == replace(whole_end, num_source_frames=end.num_source_frames)
    assert end.reason is Reason.CORRUPT
    for mine, other in zip(ours, whole, strict=True):
        np.testing.assert_array_equal(mine.frames_THWC, other.frames_THWC)
        np.testing.assert_array_equal(mine.frame_pts_ns, other.frame_pts_ns)
