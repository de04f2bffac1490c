"""status.json while a job runs: what it counts, how it ends, and that no job ends because of it."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.progress.status_writer import SUBMISSION_VARIABLE, StatusWriter
from bitmill.pipeline.shard.progress import EndedItem, ShardProgress
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.errors import InfrastructureError, InterruptedJobError, UsageError
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.reports.status_file import STATUS_FILE, JobStatus, Part, Rates, read_status
from tests.support.commands import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def _run_counts(clock: Clock | None = None) -> RunCounts:
    return RunCounts(num_sources=10, num_shards=5, num_committed=1, clock=clock or Clock())


def _teller(every_s: float = 0.01) -> tuple[StatusWriter, io.StringIO]:
    out = io.StringIO()
    return StatusWriter(lambda note: print(note, file=out), write_every_s=every_s), out


def _told(folder: Path) -> JobStatus:
    return read_status((folder / STATUS_FILE).read_bytes(), origin="here")


def _failed(reason: Reason) -> EndedItem:
    return EndedItem(source="/x", outcome=Outcome.FAILED, reason=reason, detail=None)


def test_counts_are_of_the_whole_dataset_and_rates_of_this_run():
    clock = Clock()
    run_counts = _run_counts(clock)
    run_counts.begin(10, Totals(ok=1, failed=1, clips=3, frames=30, tokens=300, reasons={"corrupt": 1}))
    run_counts.advance(ShardProgress(shard_id="a", clips=4, frames=40, tokens=400))
    clock.now += 4
    run_counts.advance(
        ShardProgress.of_item("b", _failed(Reason.NO_FRAMES), seconds={"decode": 2.5, "wait": 0.5})
    )
    totals = Totals(ok=1, failed=2, clips=4, frames=40, tokens=400, reasons={"corrupt": 2})
    run_counts.commit("a", totals, {"gpu": 1.25, "wait": 1.5, "encode": 2.0})
    run_counts.refresh("waiting for a node")
    counts = run_counts.counts
    assert counts.note == "waiting for a node"
    assert (counts.shards, counts.items) == (Part(planned=5, done=2), Part(planned=10, done=6))
    assert (counts.clips, counts.frames, counts.tokens, counts.not_ok) == (7, 70, 700, 4)
    assert counts.reasons == {"corrupt": 3, "no_frames": 1}
    assert counts.rates == Rates(items=1.0, clips=1.0, frames=10.0, tokens=100.0)
    assert list(counts.seconds.items()) == [("decode", 2.5), ("wait", 2.0), ("encode", 2.0), ("gpu", 1.25)]
    assert counts.remaining_s == 4.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=30))
def test_a_shard_that_starts_over_leaves_no_trace(events):
    run_counts = _run_counts()
    run_counts.begin(10, Totals())
    before = run_counts.counts
    for shard_id, clips, failed in events:
        run_counts.advance(ShardProgress(shard_id=shard_id, clips=clips, frames=clips))
        if failed:
            run_counts.advance(ShardProgress.of_item(shard_id, _failed(Reason.CORRUPT)))
    for shard_id in "abc":
        run_counts.drop(shard_id)
    run_counts.refresh()
    assert run_counts.counts == before


def test_a_running_job_is_told_and_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(SUBMISSION_VARIABLE, "bitmill-0123456789abcdef")
    status_writer, out = _teller()
    run_counts = _run_counts()
    with status_writer:
        status_writer.run(Folder(str(tmp_path)), run_counts)
        wait_until((tmp_path / STATUS_FILE).exists, "the first status")
        assert _told(tmp_path).state == "running"
        run_counts.commit("a", Totals(ok=2, clips=5), {})
        run_counts.refresh()
        wait_until(lambda: _told(tmp_path).clips == 5, "the counts")
        status_writer.finish(all_ok=False, exit_code=3)
    last = _told(tmp_path)
    assert (last.state, last.exit_code, last.error) == ("complete_with_failures", 3, None)
    assert last.driver.submission_id == "bitmill-0123456789abcdef"
    assert last.updated_at >= last.started_at
    assert out.getvalue() == ""
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_FILE]


@pytest.mark.parametrize(
    ("error", "state", "code", "sentence"),
    [
        (InterruptedJobError("Interrupted."), "stopped", 130, "Interrupted."),
        (InfrastructureError("The disk is full."), "failed", 5, "The disk is full."),
        (ValueError("key=hunter2"), "failed", 70, "ValueError in the driver"),
    ],
)
def test_an_error_ends_the_status_and_passes(tmp_path, error, state, code, sentence):
    status_writer, _ = _teller(every_s=60)
    status_writer.run(Folder(str(tmp_path)), _run_counts())
    with pytest.raises(type(error), match=str(error)), status_writer:
        raise error
    last = _told(tmp_path)
    assert (last.state, last.exit_code, last.error) == (state, code, sentence)


def test_a_mistake_found_while_planning_leaves_the_output_alone(tmp_path):
    status_writer, _ = _teller(every_s=60)
    status_writer.claim(Folder(str(tmp_path / "tokens")))
    with pytest.raises(UsageError, match="no media"), status_writer:
        raise UsageError("no media")
    assert list(tmp_path.iterdir()) == []


def test_long_planning_is_told(tmp_path):
    status_writer, _ = _teller()
    with status_writer:
        status_writer.claim(Folder(str(tmp_path)))
        wait_until((tmp_path / STATUS_FILE).exists, "the first status")
        assert _told(tmp_path).state == "planning"
        status_writer.finish(all_ok=True, exit_code=0)
    assert _told(tmp_path).state == "complete"


def test_a_status_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path):
    blocked = tmp_path / "tokens"
    blocked.write_text("a file where the folder should be")
    status_writer, out = _teller()
    with status_writer:
        status_writer.run(Folder(str(blocked)), _run_counts())
        wait_until(lambda: "status.json" in out.getvalue(), "the note")
        status_writer.finish(all_ok=True, exit_code=0)
    assert out.getvalue().count("note: status.json cannot be written; the job continues") == 1
