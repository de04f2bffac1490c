"""What looks odd and is right: none of it is a finding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.audit_findings import Kind
from tests.support.audits import Planted, dataset_of
from tests.support.fakes import make_clip

S = 10**9
VIDEO = MediaFacts(media="video", container="mov", codec="h264", height=720, width=1280, duration_ns=60 * S)


def source(name: str, start_s: int | None = None, end_s: int | None = None) -> PlannedSource:
    start_ns, end_ns = (None if value is None else value * S for value in (start_s, end_s))
    return PlannedSource(uri=f"/media/{name}", size_bytes=9, version="1", start_ns=start_ns, end_ns=end_ns)


def video(*starts_s: int, clip_s: int = 1, **facts: object) -> list[SourceEvent]:
    clips = [make_clip(abs(at), start_ns=at * S) for at in starts_s]
    timed = [replace(clip, end_ns=clip.start_ns + clip_s * S) for clip in clips]
    return [*timed, ItemEnd(facts=replace(VIDEO, **facts))]


def still() -> list[SourceEvent]:
    clip = replace(make_clip(5, num_frames=1), frame_pts_ns=np.zeros(1, np.int64), end_ns=0, fps=None)
    return [clip, ItemEnd(facts=MediaFacts(media="image", container="PNG", codec="PNG", height=9, width=9))]


def failed(reason: Reason = Reason.NOT_MEDIA) -> list[SourceEvent]:
    return [ItemEnd.unread(reason, "made to fail")]


def members(*items: tuple[str | None, list[SourceEvent]]) -> list[SourceEvent]:
    return [
        event for key, events in items for event in (ItemStart(key=key, size_bytes=7, metadata=None), *events)
    ]


SOUND: dict[str, list[Planted]] = {
    "a long video as several sources": [
        Planted(source("long.mp4", None, 20), video(18, 19)),
        Planted(source("long.mp4", 20, 40), video(20, 38)),
        Planted(source("long.mp4", 40, None), video(40, 59)),
    ],
    "spans of one video that overlap": [
        Planted(source("a.mp4", 0, 20), video(0, 10)),
        Planted(source("a.mp4", 5, 20), video(10, 11)),
        Planted(source("a.mp4"), video(0, 10, 11)),
    ],
    "spans of one video backwards": [
        Planted(source("a.mp4", 30, 40), video(30, 31)),
        Planted(source("a.mp4", 0, 10), video(0, 1)),
    ],
    "a picture with a span": [Planted(source("a.png", 5, 10), still()), Planted(source("a.png"), still())],
    "a clock that begins late": [Planted(source("a.ts"), video(5000, 5058))],
    "a clock that begins before zero": [Planted(source("a.mp4"), video(-3, -2, 0))],
    "a last frame that is held": [Planted(source("a.mp4"), video(0, 1, clip_s=1, duration_ns=S + 1))],
    "a frame that is shown longer than the media lasts": [
        Planted(source("a.mp4"), video(0, duration_ns=1, fps=0.5))
    ],
    "times that nobody told": [Planted(source("a.mp4"), video(0, 900, duration_ns=None, fps=None))],
    "a tar whose member comes twice": [
        Planted(source("b.tar"), members(("b.mp4", video(0, 1)), ("a.mp4", video(0, 1)), ("c.png", still())))
    ],
}


@pytest.mark.parametrize("planted", SOUND.values(), ids=list(SOUND))
def test_odd_and_sound(planted: list[Planted], tmp_path: Path):
    report = dataset_of(tmp_path / "tokens", planted).audit()
    assert report.findings == []
    assert report.coverage.total.sources == len(planted)


def test_a_tar_with_all_that_may_befall_it(tmp_path: Path):
    repeated: list[SourceEvent] = [ItemEnd.unread(Reason.DUPLICATE_KEY, "again")]
    events = members(
        ("b.mp4", video(0, 1)), ("b.mp4", repeated), ("a.mp4", video(3)), (None, failed(Reason.TRUNCATED))
    )
    report = dataset_of(tmp_path / "tokens", [Planted(source("b.tar"), events)]).audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.FAILED_ITEMS: 2}
    total = report.coverage.total
    assert (total.sources, total.ok, total.partial, total.failed) == (1, 2, 0, 2)
    assert total.bytes_in == 21
    assert report.coverage.next_steps == [
        (
            "2 failed members of tars cannot be retried, since other members of their tars were tokenized; "
            "put repaired ones into a new tar and --append it."
        )
    ]


def test_what_was_done_again_counts_once(tmp_path: Path):
    first = [Planted(source("a.mp4"), video(0)), Planted(source("b.mp4"), failed())]
    again = [Planted(replace(source("b.mp4"), version="2"), video(0, 1))]
    report = dataset_of(tmp_path / "tokens", first, again).audit()
    assert report.findings == []
    total = report.coverage.total
    assert (total.sources, total.ok, total.failed, total.pending) == (2, 2, 0, 0)


def test_what_was_done_again_though_clips_came_of_it(tmp_path: Path):
    first = [Planted(source("a.mp4"), video(0)), Planted(source("b.mp4"), failed())]
    report = dataset_of(tmp_path / "tokens", first, [Planted(source("a.mp4"), video(0))]).audit()
    assert {one.kind: one.count for one in report.findings if one.kind is not Kind.FAILED_ITEMS} == {
        Kind.DUPLICATE_CLIP: 1
    }


def test_what_waits_to_be_done_again_counts_as_it_was(tmp_path: Path):
    first = [Planted(source("a.mp4"), video(0)), Planted(source("b.mp4"), failed())]
    dataset = dataset_of(tmp_path / "tokens", first, [Planted(source("b.mp4"), video(0))])
    dataset.shard(1).unlink()
    dataset.ledger(1).unlink()
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.PENDING_SHARD: 1, Kind.FAILED_ITEMS: 1}
    total = report.coverage.total
    assert (total.sources, total.ok, total.failed, total.pending) == (2, 1, 1, 0)
    assert report.coverage.next_steps == ["Running the job again does 1 shard with 1 source of 9 bytes."]


def test_a_source_that_is_planned_twice_is_told_once(tmp_path: Path):
    planted = [Planted(source("a.mp4"), video(0, 1)), Planted(source("a.mp4"), video(0, 1))]
    report = dataset_of(tmp_path / "tokens", planted).audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.DUPLICATE_CLIP: 1}


def test_clips_that_last_longer_than_their_media(tmp_path: Path):
    planted = [Planted(source("a.mp4"), video(0, 500))]
    report = dataset_of(tmp_path / "tokens", planted).audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.SPAN_OUTSIDE_SOURCE: 1}


def test_clips_outside_the_planned_span(tmp_path: Path):
    planted = [Planted(source("a.mp4", 10, 20), video(9, 11, 20))]
    report = dataset_of(tmp_path / "tokens", planted).audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.SPAN_OUTSIDE_SOURCE: 2}
