"""``bitmill status`` answers from a folder alone, and believes the files more than the driver's word."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.commands.remote.status import ClusterWord, judge
from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.dataset.dataset_status import dataset_status
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE, Totals
from bitmill.schemas.reports.status_file import (
    SILENT_AFTER_WRITES,
    STATUS_FILE,
    WRITE_EVERY_S,
    DriverPlace,
    DriverState,
    JobStatus,
    Part,
    Rates,
)
from tests.support.datasets import make_dataset

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _dataset(folder: Path, *, leave_out: int = 0, short: int = 0) -> Folder:
    """Six items in three shards; totals on the card where all are committed, ``short`` of them not ok."""
    make_dataset(str(folder), [[4], [2], [1], [3], [2], [2]], leave_out=leave_out)
    place = Folder(str(folder))
    card = require_card(place).model_copy(update={"totals": None})
    place.write_bytes(DATASET_FILE, card.to_json())
    if not leave_out:
        totals = dataset_status(place).totals + Totals(ok=-short, failed=short)
        place.write_bytes(DATASET_FILE, card.model_copy(update={"totals": totals}).to_json())
    return place


def _tell(place: Folder, *, age_s: float = 1.0, now: datetime = NOW, **changes: object) -> JobStatus:
    status = JobStatus.model_validate(
        {
            "state": DriverState.RUNNING,
            "driver": DriverPlace(host="node-7", pid=4711, submission_id="bitmill-0123456789abcdef"),
            "started_at": now - timedelta(hours=1),
            "updated_at": now - timedelta(seconds=age_s),
            "items": Part(planned=6, done=5),
            "rates": Rates(clips=2.5, frames=40.0, tokens=1e4),
            "remaining_s": 90.0,
            "seconds": {"wait": 60.0, "encode": 540.0, "gpu": 300.0},
            **changes,
        }
    )
    place.write_bytes(STATUS_FILE, status.to_json())
    return status


def _status(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", "status", *arguments])
    with pytest.raises(SystemExit, match=r"^\d$") as ended:
        main()
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_a_complete_dataset_needs_no_status_file(monkeypatch, capsys, tmp_path):
    _dataset(tmp_path)
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 0
    assert out.startswith("complete: Every planned item is ok.")
    assert "3 of 3 committed" in out
    assert "6 ok, 0 partial, 0 failed" in out


def test_a_complete_dataset_with_failures_has_their_code(monkeypatch, capsys, tmp_path):
    _dataset(tmp_path, short=2)
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 3
    assert "complete with failures" in out
    assert "4 ok, 0 partial, 2 failed" in out


def test_a_running_driver_adds_rates_but_no_counts(monkeypatch, capsys, tmp_path):
    _tell(_dataset(tmp_path, leave_out=2), now=datetime.now(UTC))
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 6
    assert out.startswith("running: The driver (process 4711 on node-7) is running; last status written ")
    assert "1 of 3 committed" in out
    assert "2 in committed shards; 6 sources planned" in out
    assert "2.5 clips/s, 40.0 frames/s, 10000 tokens/s" in out
    assert "actors: wait 1 min 00 s, encode 9 min 00 s · GPU busy 50%" in out
    assert "1 min 30 s" in out


def test_a_driver_that_died_is_told_from_one_that_runs(tmp_path):
    place = _dataset(tmp_path, leave_out=1)
    limit = SILENT_AFTER_WRITES * WRITE_EVERY_S
    _tell(place, age_s=limit)
    assert judge(dataset_status(place), NOW).state == "running"
    _tell(place, age_s=limit + 1)
    verdict = judge(dataset_status(place), NOW)
    assert (verdict.state, verdict.exit_code) == ("silent", 6)
    assert "last wrote its status 31 s ago" in verdict.sentence
    assert "Run the same command again" in verdict.sentence


def test_a_clock_that_is_a_little_ahead_is_no_age(tmp_path):
    place = _dataset(tmp_path, leave_out=1)
    _tell(place, age_s=-20)
    assert judge(dataset_status(place), NOW).sentence.endswith("is running; last status written 0.0 s ago.")


def test_a_clock_far_ahead_is_told_and_how_to_know_whether_the_driver_lives(tmp_path):
    place = _dataset(tmp_path, leave_out=1)
    _tell(place, age_s=-3600)
    verdict = judge(dataset_status(place), NOW)
    assert (verdict.state, verdict.exit_code) == ("running", 6)
    assert verdict.sentence.endswith(
        "last status written at 2026-03-01 13:00:00 UTC by its clock, 1 h 00 min ahead of this machine's. "
        "Run this again in 30 s: if that time has not changed, the driver has ended."
    )
    _tell(place, age_s=-3600, state="stopped", exit_code=130)
    sentence = judge(dataset_status(place), NOW).sentence
    assert "Stopped at 2026-03-01 13:00:00 UTC by its clock, 1 h 00 min ahead of this machine's." in sentence


@pytest.mark.parametrize(
    ("changes", "state", "sentence"),
    [
        ({"state": "stopped", "exit_code": 130, "error": "Interrupted."}, "stopped", "Stopped 1.0 s ago."),
        ({"state": "failed", "exit_code": 5, "error": "The disk is full."}, "failed", "5: The disk is full."),
        ({"state": "complete", "exit_code": 0}, "unfinished", "shards or totals are missing"),
        ({"state": "planning"}, "planning", "is planning; last status written"),
    ],
)
def test_how_a_driver_ended_is_told(tmp_path, changes, state, sentence):
    place = _dataset(tmp_path, leave_out=1)
    _tell(place, **changes)
    verdict = judge(dataset_status(place), NOW)
    assert (verdict.state, verdict.exit_code) == (state, 6)
    assert sentence in verdict.sentence


def test_files_win_over_a_driver_that_says_it_runs(tmp_path):
    place = _dataset(tmp_path)
    _tell(place)
    assert judge(dataset_status(place), NOW).state == "complete"


def test_the_cluster_knows_at_once_that_a_driver_is_gone(tmp_path):
    place = _dataset(tmp_path, leave_out=1)
    status = _tell(place)
    word = ClusterWord(address="x", name=status.driver.submission_id or "", state="FAILED", has_ended=True)
    verdict = judge(dataset_status(place), NOW, word)
    assert verdict.state == "silent"
    assert "Ray says FAILED" in verdict.sentence


def test_an_unfinished_dataset_without_a_status_file(monkeypatch, capsys, tmp_path):
    _dataset(tmp_path, leave_out=3)
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 6
    assert "unfinished: No driver is known." in out
    assert "0 of 3 committed" in out


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"state": "running"}'])
def test_a_damaged_status_file_hides_nothing(monkeypatch, capsys, tmp_path, data):
    _dataset(tmp_path, leave_out=1).write_bytes(STATUS_FILE, data)
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 6
    assert "2 of 3 committed" in out
    assert "status.json cannot be read" in out


def test_a_newer_status_file_says_so(monkeypatch, capsys, tmp_path):
    _tell(_dataset(tmp_path), format_version=2)
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path))
    assert code == 0
    assert "has status format 2; this bitmill reads up to 1" in out


def test_a_first_plan_under_way_is_no_error(tmp_path):
    place = Folder(str(tmp_path))
    _tell(place, state="planning")
    verdict = judge(dataset_status(place), NOW)
    assert (verdict.state, verdict.exit_code) == ("planning", 6)


def test_the_json_form_has_all_of_it(monkeypatch, capsys, tmp_path):
    _tell(_dataset(tmp_path, leave_out=2), now=datetime.now(UTC))
    code, out, _ = _status(monkeypatch, capsys, str(tmp_path), "--json")
    document = json.loads(out)
    assert code == document["exit_code"] == 6
    assert document["shards"] == {"planned": 3, "committed": 1}
    assert document["items"] == {"planned": 6, "committed": 2}
    assert document["status"]["driver"]["pid"] == 4711
    assert document["totals"]["ok"] == 2


def test_a_job_file_names_its_dataset(monkeypatch, capsys, tmp_path):
    _dataset(tmp_path / "tokens")
    job = tmp_path / "job.yaml"
    job.write_text(
        f"version: 1\nsource: {{paths: /m}}\noutput: {tmp_path}/tokens\ntokenizer: {{preset: tiny}}\n"
    )
    code, out, _ = _status(monkeypatch, capsys, str(job))
    assert code == 0
    assert "3 of 3 committed" in out


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nowhere", "is not a bitmill dataset"),
        ("bitmill-0123456789abcdef-2", "give its cluster with --address"),
    ],
)
def test_what_is_no_dataset_is_a_mistake(monkeypatch, capsys, tmp_path, target, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, err = _status(monkeypatch, capsys, target)
    assert code == 2
    assert sentence in err
