"""Long videos in spans: no frame is lost or doubled, and an append knows them as wholes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.planning.append import sift_sources
from bitmill.pipeline.planning.probe_sources import Probed
from bitmill.pipeline.planning.split_videos import spans_of, split_long
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.job import LimitsSpec, SourceSpec
from tests.support.fakes import make_job
from tests.support.media import (
    delayed_mp4,
    jpeg_photo,
    mpeg2_ts,
    real_pictures,
    text_file,
    vfr_mp4,
    write_video,
)

pytestmark = pytest.mark.usefixtures("forked_children")


def _video(start_ns: int, end_ns: int, *, orderly: bool = True) -> Probed:
    return Probed(media="video", num_frames=9, start_ns=start_ns, end_ns=end_ns, orderly=orderly)


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**12), st.integers(10**9, 10**11))
def test_spans_follow_each_other_from_open_end_to_open_end(start_ns, length_ns, split_ns):
    spans = spans_of(_video(start_ns, start_ns + length_ns), split_ns)
    assert (spans[0][0], spans[-1][1]) == (None, None)
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    edges = [start_ns, *(start for start, _ in spans[1:]), start_ns + length_ns]
    lengths = [after - before for before, after in pairwise(edges)]
    assert all(length == split_ns for length in lengths[:-1])
    assert lengths[-1] <= 1.5 * split_ns + 1
    assert len(spans) == 1 or lengths[-1] >= split_ns // 2


def test_what_cannot_be_trusted_stays_whole():
    assert spans_of(None, 10**9) == [(None, None)]
    assert spans_of(_video(0, 10**10, orderly=False), 10**9) == [(None, None)]
    assert spans_of(Probed(media="image", num_frames=1), 10**9) == [(None, None)]


def test_times_that_the_plan_cannot_store_are_not_trusted():
    late = 2**63 - 10**9
    assert len(spans_of(_video(late - 10**10, late), 10**9)) == 10
    assert spans_of(_video(late, late + 10**10), 10**9) == [(None, None)]


@pytest.mark.parametrize("split_s", [1e30, 1e300])
def test_no_video_is_longer_than_any_time(tmp_path, split_s):
    _long(tmp_path / "a.mp4")
    found = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    assert split_long(found, split_s, LimitsSpec()) == found


def _long(path):
    return write_video(path, real_pictures(110, 176, 144), fps=25, options={"g": "12", "crf": "1"})


@pytest.mark.parametrize("fps", [None, 10.0])
@pytest.mark.parametrize("make", [_long, vfr_mp4, delayed_mp4, mpeg2_ts], ids=lambda make: make.__name__)
def test_the_spans_of_a_video_hold_its_frames_once(tmp_path, monkeypatch, make, fps):
    monkeypatch.setattr("bitmill.pipeline.planning.split_videos._LEAST_BYTES_PER_S", 0)
    path = make(tmp_path / ("a.ts" if make is mpeg2_ts else "a.mp4"))
    (whole,) = find_sources(SourceSpec(paths=[str(path)])).sources
    parts = split_long([whole], 1.0, LimitsSpec())
    settings = DecodeSettings.of(make_job(sampling={"fps": fps, "clip_frames": 4}), squares(16), pixel_rule=2)
    assert len(parts) > 1
    wanted, frames = _decoded([whole], settings)
    given_, others = _decoded(parts, settings)
    assert given_ == wanted
    assert (others == frames).all()


def test_spans_of_whole_clips_leave_clips_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr("bitmill.pipeline.planning.split_videos._LEAST_BYTES_PER_S", 0)
    (whole,) = find_sources(SourceSpec(paths=[str(_long(tmp_path / "a.mp4"))])).sources
    settings = DecodeSettings.of(
        make_job(sampling={"fps": 10.0, "clip_frames": 4}), squares(16), pixel_rule=2
    )
    bounds = [
        [
            (event.start_ns, event.end_ns)
            for source in sources
            for event in source_events(source, settings)
            if isinstance(event, DecodedClip)
        ]
        for sources in ([whole], split_long([whole], 2.0, LimitsSpec()))
    ]
    assert bounds[0] == bounds[1]


def _decoded(sources, settings):
    times, frames = [], []
    for source in sources:
        for event in source_events(source, settings):
            if isinstance(event, DecodedClip):
                times += event.frame_pts_ns.tolist()
                frames.append(event.frames_THWC)
            elif isinstance(event, ItemEnd):
                assert event.reason is None, event
    return times, np.concatenate(frames)


def test_only_whole_videos_of_some_size_are_cut_and_the_rest_keeps_its_place(tmp_path):
    _long(tmp_path / "b.mp4")
    jpeg_photo(tmp_path / "a.jpg")
    text_file(tmp_path / "c.mp4")
    (tmp_path / "c.mp4").write_bytes((tmp_path / "c.mp4").read_bytes() * 10_000)
    _long(tmp_path / "d.mp4")
    found = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    listed = [
        *found,
        PlannedSource(
            uri=found[1].uri, size_bytes=found[1].size_bytes, version=found[1].version, start_ns=0, end_ns=9
        ),
    ]
    assert split_long(listed, None, LimitsSpec()) == tuple(listed)
    split = split_long(listed, 2.0, LimitsSpec())
    spans = [(source.uri[-5:], source.start_ns, source.end_ns) for source in split]
    two_s = 2_000_000_000
    assert spans == [
        ("a.jpg", None, None),
        ("b.mp4", None, two_s),
        ("b.mp4", two_s, None),
        ("c.mp4", None, None),
        ("d.mp4", None, two_s),
        ("d.mp4", two_s, None),
        ("b.mp4", 0, 9),
    ]
    assert sift_sources(found, split).known == len(found)
    # Without one of its spans a video is not planned whole.
    assert sift_sources(found[1:2], split[1:2]).new == tuple(found[1:2])
