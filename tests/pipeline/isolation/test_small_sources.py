"""Which sources are decoded together, and that it gives what decoding each by itself gives."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitmill.pipeline.isolation.small_sources import SMALL_BYTES, Bundle, Waiting, bundle_messages, bundled
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd, SourceEvent
from bitmill.pipeline.storage import stat
from bitmill.schemas.dataset.plan_schema import PlannedSource
from tests.support.fakes import make_job

SETTINGS = DecodeSettings.of(make_job(), 16)


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


def test_few_sources_keep_a_task_each_and_many_still_feed_many_decoders():
    few = bundled([_source(number, 1000, ".jpg") for number in range(63)])
    assert all(len(bundle.sources) == 1 for bundle in few)
    many = bundled([_source(number, 1000, ".jpg") for number in range(640)])
    assert {len(bundle.sources) for bundle in many} == {20}
    most = bundled([_source(number, 1000, ".jpg") for number in range(100_000)])
    assert {len(bundle.sources) for bundle in most} == {32}


def _picture(path: Path, seed: int) -> PlannedSource:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return _planned(path)


def _planned(path: Path) -> PlannedSource:
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
    settings = DecodeSettings.of(make_job(), 512)
    sources = [_picture(tmp_path / f"{number}.png", number) for number in range(6)]
    messages = [
        message
        for message in bundle_messages(Bundle(tuple(sources)), settings, lambda: None)
        if isinstance(message, list)
    ]
    clips = [sum(isinstance(event, DecodedClip) for event in message) for message in messages]
    assert sum(clips) == 6
    assert max(clips) == 2
