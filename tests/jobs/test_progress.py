"""Progress tells rates and remaining time, as lines where there is no terminal."""

import io

import pytest
from rich.console import Console

from jobs.progress import Progress, bytes_text, duration_text
from pipeline.shard.loop import EndedItem, ShardProgress
from schemas.dataset import Totals
from schemas.outcomes import Outcome


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _ended(outcome: Outcome) -> EndedItem:
    return EndedItem(source="/x", outcome=outcome, reason=None, detail=None)


def _progress(*, terminal: bool = False) -> tuple[Progress, Clock, io.StringIO]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=200)
    return Progress(console, clock=clock), clock, out


def test_rates_and_remaining_time_follow_from_what_was_reported():
    progress, clock, _ = _progress()
    progress.begin(10, Totals(ok=2, failed=1))
    clock.now += 4
    progress.advance(ShardProgress(shard_id="a", clips=4, frames=40, tokens=10_240))
    for outcome in (Outcome.OK, Outcome.PARTIAL):
        progress.advance(ShardProgress(shard_id="a", ended=_ended(outcome)))
    line = progress.line()
    assert line == ("5/10 items · 4 clips (1.0/s) · 10 frames/s · 2.6k tokens/s · 10 s left · 2 not ok")


def test_a_shard_that_starts_over_is_not_counted_twice():
    progress, clock, _ = _progress()
    progress.begin(2, Totals())
    clock.now += 1
    for _ in range(2):
        progress.advance(
            ShardProgress(shard_id="a", clips=3, frames=3, tokens=3, ended=_ended(Outcome.FAILED))
        )
        before = progress.line()
        progress.drop("a")
    assert before.startswith("1/2 items · 3 clips")
    assert progress.line().startswith("0/2 items · 0 clips")


def test_a_log_gets_a_line_now_and_then():
    progress, clock, out = _progress()
    with progress:
        progress.begin(1, Totals())
        for _ in range(100):
            clock.now += 0.5
            progress.refresh()
    assert len(out.getvalue().splitlines()) == 5


def test_a_terminal_gets_a_live_line():
    progress, clock, out = _progress(terminal=True)
    with progress:
        progress.begin(1, Totals())
        clock.now += 1
        progress.refresh()
    assert "0/1 items" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (12.4, "12 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_well(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_read_well(size, text):
    assert bytes_text(size) == text
