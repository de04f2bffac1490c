"""Progress tells how a run stands: as rows on a terminal of any size, as lines where there is none."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.console import Console
from bitmill.jobs.progress.progress_text import line_of, rows_of, stage_shares, stage_times
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.progress.terminal import Progress
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.pipeline.shard.progress import EndedItem, ShardProgress
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.reports.status_file import ActorCounts


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _ended(outcome: Outcome, reason: Reason | None = None, **more: Any) -> EndedItem:
    return EndedItem(source="/x", outcome=outcome, reason=reason, detail=None, **more)


def _run_counts(clock: Clock, planned: int = 10) -> RunCounts:
    return RunCounts(num_sources=planned, num_shards=4, num_committed=1, clock=clock)


def _busy_standing() -> RunCounts:
    """One with something to say in every row."""
    clock = Clock()
    run_counts = _run_counts(clock)
    run_counts.begin(10, Totals(ok=2, failed=1, reasons={"corrupt": 1}))
    run_counts.advance(ShardProgress(shard_id="a", clips=4, frames=40, tokens=10_240))
    clock.now += 4
    run_counts.advance(ShardProgress.of_item("b", _ended(Outcome.FAILED, Reason.DECODE_TIMEOUT)))
    run_counts.commit("a", Totals(ok=1, clips=4, frames=40, tokens=10_240), {"wait": 1.0, "encode": 3.0})
    run_counts.refresh("waiting for a node", ActorCounts(at_work=3, starting=2))
    return run_counts


def _shown(run_counts: RunCounts, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=width, height=height)
    console.print(rows_of(run_counts.counts, width=width, height=height))
    return out.getvalue().splitlines()


def test_rates_and_remaining_time_follow_from_what_was_reported():
    clock = Clock()
    run_counts = _run_counts(clock)
    run_counts.begin(10, Totals(ok=2, failed=1))
    run_counts.advance(ShardProgress(shard_id="a", clips=4, frames=40, tokens=10_240))
    clock.now += 4
    for outcome in (Outcome.OK, Outcome.PARTIAL):
        run_counts.advance(ShardProgress.of_item("a", _ended(outcome)))
    run_counts.refresh()
    line = line_of(run_counts.counts)
    assert line == ("5/10 items · 4 clips (1.0/s) · 10 frames/s · 2.6k tokens/s · 10 s left · 2 not ok")


def test_before_the_first_report_it_tells_what_it_waits_for():
    run_counts = _run_counts(Clock())
    run_counts.begin(10, Totals())
    run_counts.refresh(actors=ActorCounts(starting=2))
    assert " · actors are starting · " in line_of(run_counts.counts)
    run_counts.refresh(actors=ActorCounts(starting=1, at_work=1))
    assert " · time left not known yet · " in line_of(run_counts.counts)


def test_remaining_time_goes_by_bytes_where_one_video_is_most_of_the_work():
    clock = Clock()
    shares = {"a": [10] * 10, "b": [900]}
    run_counts = RunCounts(num_sources=11, num_shards=2, num_committed=0, shares=shares, clock=clock)
    run_counts.begin(11, Totals())
    run_counts.advance(ShardProgress(shard_id="a", clips=1))
    clock.now += 1
    for place in range(5):
        run_counts.advance(ShardProgress.of_item("a", _ended(Outcome.OK, place=place)))
    run_counts.refresh()
    assert run_counts.counts.remaining_s == 19.0
    run_counts.commit("a", Totals(ok=10), {})
    run_counts.refresh()
    assert run_counts.counts.remaining_s == 9.0
    run_counts.commit("b", Totals(ok=1), {})
    run_counts.refresh()
    assert run_counts.counts.remaining_s == 0.0


def test_items_of_a_tar_count_for_their_own_bytes():
    clock = Clock()
    run_counts = RunCounts(num_sources=1, num_shards=1, num_committed=0, shares={"a": [1000]}, clock=clock)
    run_counts.begin(1, Totals())
    run_counts.advance(ShardProgress(shard_id="a", clips=1))
    clock.now += 1
    run_counts.advance(ShardProgress.of_item("a", _ended(Outcome.OK, key="1.mp4", size_bytes=250)))
    run_counts.refresh()
    assert run_counts.counts.remaining_s == 3.0
    run_counts.drop("a")
    run_counts.refresh()
    assert run_counts.counts.remaining_s is None


def test_a_log_gets_a_line_now_and_then_and_what_the_driver_waits_for():
    out, clock = io.StringIO(), Clock()
    run_counts = _run_counts(clock)
    with Progress(Console(file=out, width=200), clock=clock) as progress:
        run_counts.listeners.append(progress.show)
        for tick in range(100):
            clock.now += 0.5
            run_counts.refresh("waiting for 1 tokenizer actor to start" if tick < 30 else None)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0] == "waiting for 1 tokenizer actor to start"
    assert lines[-1].startswith("0/10 items")


def test_a_terminal_gets_a_live_view():
    out, clock = io.StringIO(), Clock()
    run_counts = _run_counts(clock)
    with Progress(Console(file=out, force_terminal=True, width=100, height=20), clock=clock) as progress:
        run_counts.listeners.append(progress.show)
        run_counts.refresh()
    assert "0 of 10" in out.getvalue()


def test_the_view_tells_all_of_it():
    first, *rows = _shown(_busy_standing(), 100, 30)
    assert first == "waiting for a node"
    told = {row.split("  ")[0].strip(): " ".join(row.split()[1:]) for row in rows}
    assert told["shards"].endswith("2 of 4")
    assert "5 of 10, 10 s left" in told["items"]
    assert "0.5 items, 1.0 clips, 10 frames, 2.6k tokens" in told["a second"]
    assert "2: corrupt 1, decode_timeout 1" in told["not ok"]
    assert "3 at work, 2 starting, or waiting for room" in told["actors"]
    assert "actors: wait 25%, encode 75%" in told["time"]


def test_items_that_are_read_are_not_yet_the_end():
    run_counts = _run_counts(clock := Clock(), planned=1)
    run_counts.begin(1, Totals())
    run_counts.advance(ShardProgress(shard_id="a", clips=1))
    clock.now += 1
    run_counts.advance(ShardProgress.of_item("a", _ended(Outcome.OK)))
    run_counts.refresh()
    assert any("1 of 1, the last clips are under way" in row for row in _shown(run_counts, 100, 30))


@given(width=st.integers(1, 250), height=st.integers(1, 60))
def test_no_terminal_is_too_small(width, height):
    rows = _shown(_busy_standing(), width, height)
    # As many as there are to show: none is wrapped.
    assert len(rows) == (1 if width < 40 or height < 5 else min(8, height - 1))
    assert all(len(row) <= width for row in rows)


def test_shares_are_of_decoders_and_of_actors():
    seconds = {"read": 1.0, "decode": 3.0, "wait": 0.0, "encode": 9.0, "write": 1.0}
    assert stage_shares(seconds) == (
        "decoders: read 25%, decode 75% · actors: wait 0%, encode 90%, write 10%"
    )
    assert stage_shares({}) == ""


def test_how_busy_the_gpu_was_is_told_where_there_was_one():
    run_counts = _busy_standing()
    run_counts.commit("b", Totals(), {"gpu": 3.0})
    run_counts.refresh(None, ActorCounts(at_work=3))
    assert any("3 at work, GPU busy 75%" in row for row in _shown(run_counts, 100, 30))
    assert stage_times(run_counts.counts.seconds) == "actors: wait 1.0 s, encode 3.0 s · GPU busy 75%"
    assert "GPU" not in stage_times({"wait": 1.0, "encode": 3.0})


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (12.4, "12 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_well(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_read_well(size, text):
    assert bytes_text(size) == text
