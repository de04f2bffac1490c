"""Which sources are decoded together, and that it gives what decoding each by itself gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.video import probe_cache
from bitmill.pipeline.isolation.source_bundles import SMALL_BYTES, Bundle, Waiting, bundle_messages, bundled
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd, SourceEvent
from bitmill.pipeline.storage import Folder, source_objects, stat
from bitmill.pipeline.storage.staging_space import StagingSpace
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import make_job
from tests.support.media import plain_mp4

SETTINGS = DecodeSettings.of(make_job(), squares(16), pixel_rule=2)


def _source(number: int, size_bytes: int, suffix: str) -> PlannedSource:
    return PlannedSource(uri=f"/media/{number}{suffix}", size_bytes=size_bytes, version="")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1000, SMALL_BYTES, SMALL_BYTES + 1]),
            st.sampled_from([".jpg", ".mp4", ".tar"]),
        ),
        max_size=300,
    )
)
def test_bundles_are_the_sources_in_order_and_only_small_ones_share_one(kinds):
    sources = [_source(number, *kind) for number, kind in enumerate(kinds)]
    bundles = bundled(sources)
    assert [source for bundle in bundles for source in bundle.sources] == sources
    for bundle in bundles:
        assert 1 <= len(bundle.sources) <= 32
        if len(bundle.sources) > 1:
            assert all(one.size_bytes <= SMALL_BYTES and not one.is_archive for one in bundle.sources)


@pytest.mark.slow
def test_few_sources_keep_a_task_each_and_many_still_feed_many_decoders():
    few = bundled([_source(number, 1000, ".jpg") for number in range(63)])
    assert all(len(bundle.sources) == 1 for bundle in few)
    many = bundled([_source(number, 1000, ".jpg") for number in range(640)])
    assert {len(bundle.sources) for bundle in many} == {20}
    most = bundled([_source(number, 1000, ".jpg") for number in range(100_000)])
    assert {len(bundle.sources) for bundle in most} == {32}


@given(
    st.lists(
        st.tuples(
            st.integers(1, 80),
            st.sampled_from([1000, 30 << 20, 300 << 20, 9 << 30]),
            st.sampled_from(["", "s3:/"]),
        ),
        max_size=6,
    )
)
def test_spans_of_an_object_are_decoded_together_and_in_order(objects):
    sources = [
        PlannedSource(
            uri=f"{scheme}/media/{number}.mp4",
            size_bytes=size_bytes,
            version="",
            start_ns=second * 10**9,
            end_ns=(second + 1) * 10**9,
        )
        for number, (count, size_bytes, scheme) in enumerate(objects)
        for second in range(count)
    ]
    bundles = bundled(sources)
    assert [source for bundle in bundles for source in bundle.sources] == sources
    for number, (_, size_bytes, scheme) in enumerate(objects):
        if size_bytes > SMALL_BYTES:
            own = [bundle for bundle in bundles if bundle.uri == f"{scheme}/media/{number}.mp4"]
            assert {source.uri for bundle in own for source in bundle.sources} == {own[0].uri}
            assert len(own) <= (1 if scheme or size_bytes < 64 << 20 else 8)


def _picture(path: Path, seed: int) -> PlannedSource:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return _planned(path)


def _planned(path: Path | str) -> PlannedSource:
    info = stat(str(path))
    return PlannedSource(uri=info.uri, size_bytes=info.size_bytes, version=info.version)


def _same(one: SourceEvent, other: SourceEvent) -> bool:
    if isinstance(one, DecodedClip) and isinstance(other, DecodedClip):
        return np.array_equal(one.frames_THWC, other.frames_THWC)
    return one == other


def test_a_bundle_gives_what_its_sources_give_one_by_one(tmp_path):
    sources = [_picture(tmp_path / f"{number}.png", number) for number in range(5)]
    (tmp_path / "not.png").write_bytes(b"no picture at all")
    (tmp_path / "empty.png").write_bytes(b"")
    sources[2:2] = [_planned(tmp_path / "not.png"), _planned(tmp_path / "empty.png")]
    gone = _picture(tmp_path / "gone.png", 9)
    (tmp_path / "gone.png").unlink()
    sources.append(gone)
    expected = [
        event
        for source in sources
        for event in source_events(source, SETTINGS)
        if not isinstance(event, Staged)
    ]
    begun: list[None] = []
    messages = list(bundle_messages(Bundle(tuple(sources)), SETTINGS, lambda: begun.append(None)))
    assert messages[0] == Staged()
    given_events = [
        event for message in messages if not isinstance(message, (Staged, Waiting)) for event in message
    ]
    assert len(given_events) == len(expected)
    assert all(_same(*pair) for pair in zip(given_events, expected, strict=True))
    assert sum(isinstance(event, ItemEnd) for event in given_events) == len(sources) == len(begun)


def test_pixels_are_not_gathered_without_bound(tmp_path):
    settings = DecodeSettings.of(make_job(), squares(512), pixel_rule=2)
    sources = [_picture(tmp_path / f"{number}.png", number) for number in range(6)]
    messages = [
        message
        for message in bundle_messages(Bundle(tuple(sources)), settings, lambda: None)
        if isinstance(message, list)
    ]
    clips = [sum(isinstance(event, DecodedClip) for event in message) for message in messages]
    assert sum(clips) == 6
    assert max(clips) == 2


def test_spans_of_a_remote_object_share_one_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(source_objects, "StagingSpace", lambda: StagingSpace(tmp_path / "space"))
    copied: list[str] = []
    copy = source_objects._copy
    monkeypatch.setattr(
        source_objects, "_copy", lambda info, path: (copied.append(info.uri), copy(info, path))
    )
    data = plain_mp4(tmp_path / "v.mp4").read_bytes()
    (tmp_path / "v.mp4").unlink()
    folder = Folder("memory://spans")
    for name in ("a.mp4", "b.mp4"):
        folder.write_bytes(name, data)
    spans = [(None, 500_000_000), (500_000_000, 10**9), (10**9, None), (9 * 10**9, None)]
    sources = [
        PlannedSource(
            uri=info.uri, size_bytes=info.size_bytes, version=info.version, start_ns=start, end_ns=end
        )
        for info in (stat("memory://spans/a.mp4"), stat("memory://spans/b.mp4"))
        for start, end in spans
    ]
    expected = [
        event
        for source in sources
        for event in source_events(source, SETTINGS)
        if not isinstance(event, Staged)
    ]
    assert len(copied) == len(sources)
    copied.clear()
    monkeypatch.setattr("bitmill.pipeline.isolation.source_bundles.SMALL_BYTES", 0)
    looked_at: list[str] = []
    probe = probe_cache.probe
    monkeypatch.setattr(
        probe_cache, "probe", lambda path, **rest: (looked_at.append(path), probe(path, **rest))[1]
    )
    messages = list(bundle_messages(Bundle(tuple(sources)), SETTINGS, lambda: None))
    given_events = [event for message in messages if isinstance(message, list) for event in message]
    assert all(_same(*pair) for pair in zip(given_events, expected, strict=True))
    assert copied == ["memory://spans/a.mp4", "memory://spans/b.mp4"]
    assert len(looked_at) == 2
    marks = [message for message in messages if not isinstance(message, list)]
    assert marks == [Staged()] + [Waiting(), Staged(), Staged()] * 2
    assert not list((tmp_path / "space").glob("copy-*"))


def test_each_span_of_an_object_that_is_gone_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(source_objects, "StagingSpace", lambda: StagingSpace(tmp_path / "space"))
    gone = PlannedSource(uri="memory://spans/gone.mp4", size_bytes=9, version="x", start_ns=0, end_ns=9)
    bundle = Bundle((gone, replace(gone, start_ns=9, end_ns=None)))
    ends = [
        event
        for message in bundle_messages(bundle, SETTINGS, lambda: None)
        if isinstance(message, list)
        for event in message
    ]
    assert [end.reason for end in ends] == [Reason.NOT_FOUND] * 2
