"""Coverage adds up, whatever it is broken down by, and its tables stay small and exact."""

from dataclasses import replace
from pathlib import Path

import pytest

from bitmill.pipeline.auditing.coverage.buckets import DURATIONS, RATES, SHORT_SIDES, bucket, resolution
from bitmill.pipeline.auditing.coverage.histograms import SCALES, HistogramTally
from bitmill.pipeline.auditing.coverage.prefixes import prefix_rule
from bitmill.pipeline.auditing.coverage.sums import Sums
from bitmill.pipeline.auditing.coverage.tables import TableTally
from bitmill.pipeline.items import ItemEnd, ItemStart, MediaFacts, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.audit_report import Counts
from tests.support.audits import Planted, dataset_of
from tests.support.fakes import make_clip


def source(uri: str, metadata: str | None = None) -> PlannedSource:
    return PlannedSource(uri=uri, size_bytes=100, version="1", metadata=metadata)


def done(seed: int, facts: MediaFacts, reason: Reason | None = None) -> list[SourceEvent]:
    return [make_clip(seed), ItemEnd(facts=facts, reason=reason, detail=reason, num_source_frames=15)]


HD = MediaFacts(
    media="video", container="mov", codec="h264", height=1080, width=1920, fps=30.0, duration_ns=12 * 10**9
)
SMALL = MediaFacts(media="video", container="webm", codec="vp9", height=200, width=100, fps=8.0)

PLANTED = [
    Planted(source("/m/a/x/1.mp4", '{"label":"cat","n":1}'), done(1, HD)),
    Planted(source("/m/a/x/2.mp4", '{"label":"dog","n":2}'), done(2, SMALL)),
    Planted(source("/m/a/y/3.mp4", '{"label":"cat"}'), done(3, HD, Reason.TRUNCATED)),
    Planted(source("/m/b/4.mp4"), [ItemEnd.unread(Reason.NOT_FOUND, "gone")]),
    Planted(
        source("/m/b/5.tar"),
        [ItemStart(key="k.mp4", size_bytes=40, metadata='{"label":"owl"}'), *done(4, SMALL)],
    ),
    Planted(source("/m/b/6.mp4", '{"label":"cat"}'), done(5, HD)),
]


def add(first: Counts, second: Counts) -> Counts:
    one, two = first.model_dump(), second.model_dump()
    return Counts(**{name: one[name] + two[name] for name in one})


def test_every_table_adds_up_to_the_total(tmp_path: Path):
    dataset = dataset_of(tmp_path / "tokens", PLANTED, max_sources=1)
    dataset.shard(5).unlink()
    report = dataset.audit(columns=("label", "n", "nothing"))
    total = report.coverage.total
    assert (total.sources, total.pending, total.ok, total.partial, total.failed) == (6, 1, 3, 1, 1)
    assert (total.clips, total.frames, total.tokens, total.source_frames) == (4, 16, 64, 60)
    assert (total.bytes_in, total.code_bytes) == (440, 144)
    assert (total.seconds_in, total.seconds_out) == (24.0, 2.0)
    for table in report.coverage.tables:
        added = Counts()
        for row in table.rows:
            added = add(added, row.counts)
        assert added == total, table.by


def test_spans_of_one_video_make_up_its_bytes_once(tmp_path: Path):
    spans = [(None, 3), (3, 6), (6, None)]
    planted = [
        Planted(
            replace(
                source("/m/long.mp4"),
                start_ns=None if start_s is None else start_s * 10**9,
                end_ns=None if end_s is None else end_s * 10**9,
            ),
            done(number, HD),
        )
        for number, (start_s, end_s) in enumerate(spans)
    ]
    total = dataset_of(tmp_path / "tokens", planted).audit().coverage.total
    assert (total.sources, total.seconds_in) == (3, 12.0)
    assert total.bytes_in == source("/m/long.mp4").size_bytes


@pytest.mark.parametrize(
    ("start_s", "end_s", "seconds"), [(8, 20, 4), (13, 20, 0), (13, None, 0), (None, 20, 12)]
)
def test_of_a_span_beyond_the_media_only_the_part_inside_counts(tmp_path: Path, start_s, end_s, seconds):
    bounds = (None if at_s is None else at_s * 10**9 for at_s in (start_s, end_s))
    span = replace(source("/m/short.mp4"), **dict(zip(("start_ns", "end_ns"), bounds, strict=True)))
    ended = ItemEnd(facts=HD, reason=Reason.NO_FRAMES, detail="none", num_source_frames=0)
    total = dataset_of(tmp_path / "tokens", [Planted(span, [ended])]).audit().coverage.total
    assert (total.seconds_in, total.bytes_in) == (seconds, 100 * seconds // 12)


def test_rows_by_property_and_metadata(tmp_path: Path):
    report = dataset_of(tmp_path / "tokens", PLANTED).audit(columns=("label", "n"))
    tables = {
        table.by: {row.value: row.counts.sources for row in table.rows} for table in report.coverage.tables
    }
    assert tables["prefix"] == {"/m/a/x": 2, "/m/a/y": 1, "/m/b": 3}
    assert tables["codec"] == {"h264": 3, "vp9": 2, None: 1}
    assert tables["duration"] == {"10 s to 1 min": 3, None: 3}
    assert tables["resolution"] == {"1080 to 1439 px": 3, "under 240 px": 2, None: 1}
    assert tables["frame rate"] == {"27 to 40 fps": 3, "under 12 fps": 2, None: 1}
    # Of the tar's member, the sidecar tells.
    assert tables["label"] == {"cat": 3, "dog": 1, "owl": 1, None: 1}
    assert tables["n"] == {"1": 1, "2": 1, None: 4}


def test_reasons_and_failures(tmp_path: Path):
    coverage = dataset_of(tmp_path / "tokens", PLANTED).audit().coverage
    assert [(row.reason, row.failed, row.partial, row.examples) for row in coverage.reasons] == [
        ("not_found", 1, 0, ["/m/b/4.mp4"]),
        ("truncated", 0, 1, ["/m/a/y/3.mp4"]),
    ]
    assert [(row.source, row.outcome, row.detail) for row in coverage.failures] == [
        ("/m/a/y/3.mp4", "partial", "truncated"),
        ("/m/b/4.mp4", "failed", "gone"),
    ]
    assert coverage.next_steps == [
        (
            "Running the job with --retry-failed does 1 failed source of 100 bytes again; "
            "bitmill remove takes out what will never be readable."
        ),
        "1 item partially tokenized, which no command retries.",
    ]


def test_histograms_count_every_clip_and_item(tmp_path: Path):
    histograms = dataset_of(tmp_path / "tokens", PLANTED).audit().coverage.histograms
    told = {histogram.name: sum(histogram.counts) for histogram in histograms}
    assert told == {
        "clip seconds": 5,
        "clip frames": 5,
        "source height": 5,
        "source fps": 5,
        "item duration": 3,
    }
    for histogram in histograms:
        assert len(histogram.edges) == len(histogram.counts) + 1
        assert histogram.edges == sorted(set(histogram.edges))


def test_values_lie_in_their_bins():
    tally = HistogramTally("source height")
    values = [0, 143, 144, 1079, 10_000]
    tally.add(values)
    report = tally.report()
    one_by_one = HistogramTally("source height")
    for value in values:
        one_by_one.count(value)
    assert one_by_one.report() == report
    assert report is not None
    assert dict(zip(report.edges, report.counts, strict=False)) == {
        0: 2, 144: 1, 240: 0, 360: 0, 480: 0, 720: 1, 1080: 0, 1440: 0, 2160: 0, 4320: 1,
    }  # fmt: skip
    assert report.edges[-1] == 10_000


@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_edges_increase(scale: object):
    edges = getattr(scale, "edges")  # noqa: B009
    assert list(edges) == sorted(set(edges))


def test_too_many_values_are_summed_up():
    tally = TableTally(max_values=50)
    for number in range(200):
        tally.add(f"value {number}", Sums(sources=1, ok=1))
    tally.add(None, Sums(sources=1))
    report = tally.report("label", max_rows=10)
    assert len(report.rows) == 10
    assert report.others is not None
    assert report.others.value == "more than 41 others"
    assert sum(row.counts.sources for row in (*report.rows, report.others)) == 201


def test_most_items_come_first():
    tally = TableTally()
    for value, items in (("few", 1), (None, 5), ("many", 9), ("also few", 1)):
        tally.add(value, Sums(ok=items))
    assert [row.value for row in tally.report("label").rows] == ["many", None, "also few", "few"]


def test_buckets_begin_at_their_number():
    assert [bucket(value, DURATIONS) for value in (None, -1, 0.9, 1, 3600)] == [
        None, "under 1 s", "under 1 s", "1 to 10 s", "1 h and more",
    ]  # fmt: skip
    assert bucket(29.97, RATES) == "27 to 40 fps"
    assert resolution(1080, 1920) == resolution(1920, 1080) == "1080 to 1439 px"
    assert resolution(None, 1920) is None
    assert SHORT_SIDES[0][0] == 0


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["/a/b/1.mp4"], ["/a/b"]),
        (["/a/1.mp4", "/a/b/2.mp4"], ["/a", "/a/b"]),
        (["s3://x/a/1.mp4", "s3://y/2.mp4"], ["s3://x/a", "s3://y"]),
        (["/a/b/c/d/e/f/1.mp4", "/a/2.mp4"], ["/a/b/c/d", "/a"]),
        (["/1.mp4", "/a/2.mp4"], ["/", "/a"]),
    ],
)
def test_prefixes_are_folders(uris: list[str], expected: list[str]):
    rule = prefix_rule(uris)
    assert [rule.prefix(uri) for uri in uris] == expected


def test_prefixes_stay_few():
    uris = [f"/data/{split}/{number}/{split}.mp4" for split in ("train", "test") for number in range(100)]
    rule = prefix_rule(uris)
    assert {rule.prefix(uri) for uri in uris} == {"/data/train", "/data/test"}
