"""Looking at many files: what is told, and what a file costs that kills or hangs its child."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from bitmill.pipeline.planning import probe_sources as probing
from bitmill.pipeline.planning.probe_sources import probe_sources
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.requests.job import LimitsSpec, SourceSpec
from tests.support.media import animated_gif, jpeg_photo, plain_mp4, text_file

pytestmark = pytest.mark.usefixtures("forked_children")

LIMITS = LimitsSpec()


@pytest.fixture
def sources(tmp_path: Path):
    plain_mp4(tmp_path / "a.mp4")
    jpeg_photo(tmp_path / "b.jpg")
    animated_gif(tmp_path / "c.gif")
    text_file(tmp_path / "d.mp4")
    plain_mp4(tmp_path / "e.mp4")
    return find_sources(SourceSpec(paths=[str(tmp_path)])).sources


def test_each_source_is_told_in_order_without_decoding(sources):
    found = [probed for _, probed in probe_sources(sources, LIMITS, workers=2)]
    assert [probed and probed.media for probed in found] == ["video", "image", "animation", None, "video"]
    assert (found[0].num_frames, found[0].start_ns, found[0].end_ns) == (50, 0, 2_000_000_000)
    assert (found[2].num_frames, found[2].end_ns) == (10, 550_000_000)
    assert found[0] == found[4]
    assert multiprocessing.active_children() == []


def _crash_on_b(connection, limits):
    while True:
        source, room = connection.recv()
        if source.uri.endswith("b.jpg"):
            os.abort()
        connection.send(probing._look(source, limits, room))


def _hang_on_b(connection, limits):
    while True:
        source, room = connection.recv()
        if source.uri.endswith("b.jpg"):
            time.sleep(1000)
        connection.send(probing._look(source, limits, room))


@pytest.mark.parametrize("answer", [_crash_on_b, _hang_on_b])
def test_a_file_that_kills_or_hangs_its_child_costs_itself(sources, monkeypatch, answer):
    monkeypatch.setattr(probing, "_answer", answer)
    monkeypatch.setattr(probing, "_START_S", 20.0)
    limits = LimitsSpec(item_timeout_s=3.0)
    found = [probed and probed.media for _, probed in probe_sources(sources, limits, workers=1)]
    assert found == ["video", None, "animation", None, "video"]


def test_stopping_early_leaves_no_child(sources):
    events = probe_sources(sources, LIMITS, workers=2)
    next(events)
    events.close()
    assert multiprocessing.active_children() == []
