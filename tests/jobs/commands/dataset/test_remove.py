"""``bitmill remove`` and ``bitmill trace`` as a user types them: asked, refused, told."""

import json
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.pipeline.inspection.provenance import Tracer
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.reports.status_file import STATUS_FILE, DriverPlace, DriverState, JobStatus
from tests.support.datasets import make_dataset
from tests.support.fakes import make_source
from tests.support.removals import GivesOut, GivesOutError, asked, files_of, take_down

URI = make_source(0).uri


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "tokens"
    make_dataset(str(folder), [[4, 2], [3], [5]])
    return folder


@pytest.fixture
def tokens(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "tokens"))


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command here; gives what it said and its exit code."""

    def running(*arguments: object) -> tuple[str, int]:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["bitmill", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return captured.out + captured.err, ended.value.code

    return running


def test_a_dry_run_says_what_would_go_and_writes_nothing(run, tokens):
    before = files_of(tokens)
    said, code = run("remove", tokens, "--source", URI, "--dry-run")
    assert (said, code) == (f"to be removed from {tokens}: 2 clips; to be rewritten: 1 shard\n", 0)
    assert files_of(tokens) == before


def test_it_asks_and_without_a_terminal_refuses(run, tokens, monkeypatch):
    before = files_of(tokens)
    said, code = run("remove", tokens, "--source", URI)
    assert code == 2
    assert said.endswith("error: No terminal to ask on; pass --yes to remove without confirmation.\n")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda _: False)
    said, code = run("remove", tokens, "--source", URI)
    assert (said.splitlines()[-1], code) == ("error: Nothing was removed.", 130)
    assert files_of(tokens) == before
    monkeypatch.setattr("typer.confirm", lambda _: True)
    said, code = run("remove", tokens, "--source", URI, "--reason", "asked [bold]by[/bold] mail")
    assert code == 0
    assert "removed 1 source, 2 clips of 1 shard; record" in said
    (record,) = (tokens / "removals").iterdir()
    assert json.loads(record.read_text())["reason"] == "asked [bold]by[/bold] mail"
    assert len(TokenDataset(tokens)) == 2


def test_lists_in_files_and_what_a_dataset_does_not_have(run, tokens, tmp_path):
    clip = TokenDataset(tokens, columns=("clip_id",))[2]["clip_id"]
    (tmp_path / "clips").write_text(f"{clip}\r\n\ncat\x1b[31m\n")
    (tmp_path / "sources").write_text(f"{make_source(2).uri}\n")
    lists = ("--clips-from", tmp_path / "clips", "--sources-from", tmp_path / "sources")
    said, code = run("remove", tokens, *lists, "--yes")
    assert code == 2
    assert r"has no cat\x1b[31m; nothing was removed." in said
    said, code = run("remove", tokens, *lists, "--yes", "--skip-unknown")
    assert code == 0
    assert f"skipped 1 name not found in {tokens}" in said
    assert "removed 1 source, 2 clips of 2 shards" in said
    said, code = run("remove", tokens, *lists, "--yes", "--skip-unknown")
    assert (said.splitlines()[-1], code) == (f"nothing to do: {tokens} contains none of it.", 0)
    said, code = run("remove", tokens, "--clips-from", tmp_path / "none")
    assert code == 2
    assert "cannot be read as text, one entry per line" in said


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_lists_byte_order_mark_is_no_part_of_its_first_name(run, tokens, tmp_path, end):
    names = [make_source(number).uri for number in (0, 2)]
    (tmp_path / "sources").write_bytes(b"\xef\xbb\xbf" + end.join([*names, ""]).encode())
    said, code = run("remove", tokens, "--sources-from", tmp_path / "sources", "--yes")
    assert code == 0, said
    left = {sample["source"] for sample in TokenDataset(tokens, columns=("source",))}
    assert left.isdisjoint(names)
    assert left


def test_a_list_that_is_no_utf8_removes_nothing(run, tokens, tmp_path):
    (tmp_path / "sources").write_text(make_source(0).uri, "utf-16")
    before = files_of(tokens)
    said, code = run("remove", tokens, "--sources-from", tmp_path / "sources", "--yes")
    assert (said, code) == (f"error: {tmp_path}/sources is not UTF-8 text; save it as UTF-8.\n", 2)
    assert files_of(tokens) == before


def test_an_interrupted_one_is_finished_by_the_same_command_and_by_resume(run, tokens, tmp_path):
    other = Path(shutil.copytree(tokens, tmp_path / "other"))
    for folder in (tokens, other):
        with pytest.raises(GivesOutError):
            take_down(GivesOut(str(folder), 5), asked(URI))
    said, code = run("remove", tokens, "--source", URI, "--reason", "asked by mail", "--yes")
    assert code == 0
    assert said.startswith("finished 1 source, 2 clips of 1 shard; record")
    assert said.endswith("contains none of it.\n")
    said, code = run("remove", other, "--resume")
    assert code == 0
    assert said.startswith("finished 1 source, 2 clips of 1 shard; record")
    assert files_of(other) == files_of(tokens)
    said, code = run("remove", other, "--resume")
    assert (said, code) == (f"{other}: all removals are complete.\n", 0)


@pytest.mark.parametrize("lives", [True, False])
def test_a_driver_by_a_clock_ahead_is_known_by_its_next_word(run, tokens, monkeypatch, lives):
    ahead = datetime.now(UTC) + timedelta(hours=1)
    status = JobStatus(
        state=DriverState.RUNNING,
        driver=DriverPlace(host="here", pid=7),
        started_at=ahead,
        updated_at=ahead,
        write_every_s=60 if lives else 0.01,
    )
    (tokens / STATUS_FILE).write_bytes(status.to_json())

    def write_again(_seconds: float) -> None:
        if lives:
            later = status.model_copy(update={"updated_at": ahead + timedelta(seconds=5)})
            (tokens / STATUS_FILE).write_bytes(later.to_json())

    monkeypatch.setattr(time, "sleep", write_again)
    said, code = run("remove", tokens, "--source", URI, "--yes")
    assert code == (2 if lives else 0)
    assert ("A job (process 7 on here, last update 0.0 s ago) is running" in said) == lives


@pytest.mark.parametrize(("age_s", "refused"), [(1, True), (1000, False)])
def test_beside_a_driver_at_work_it_is_refused_unless_forced(run, tokens, age_s, refused):
    now = datetime.now(UTC)
    status = JobStatus(
        state=DriverState.RUNNING,
        driver=DriverPlace(host="here", pid=7),
        started_at=now,
        updated_at=now - timedelta(seconds=age_s),
    )
    (tokens / STATUS_FILE).write_bytes(status.to_json())
    said, code = run("remove", tokens, "--source", URI, "--yes")
    assert code == (2 if refused else 0)
    if refused:
        assert "A job (process 7 on here, last update " in said
        said, code = run("remove", tokens, "--source", URI, "--yes", "--force")
        assert code == 0
        assert "once the running job has ended, run bitmill remove --resume" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--source", URI, "--resume"),
        ("--source", URI, "--source", "/b", "--key", "k"),
        ("--resume", "--dry-run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, tokens, arguments):
    said, code = run("remove", tokens, *arguments)
    assert (said.startswith("error: "), said.count("\n"), code) == (True, 1, 2)


def test_a_trace_shows_all_in_lines_and_as_json(run, tokens):
    trace = Tracer(Folder(str(tokens))).sample(1)
    clip = trace.clip
    by_id, code = run("trace", tokens, "--clip", clip.columns["clip_id"])
    assert code == 0
    assert f"source     {URI}\n" in by_id
    assert "time       0.500–0.750 s\n" in by_id
    assert "frames     2 at 0.500, 0.625 s\n" in by_id
    assert f"shard      {clip.file} (number 0), row 1, row group 0\n" in by_id
    assert run("trace", tokens, "--index", 1) == (by_id, 0)
    assert run("trace", tokens, "--shard", clip.file, "--row", 1) == (by_id, 0)
    said, code = run("trace", tokens, "--index", 1, "--json")
    document = json.loads(said)
    assert document["clip"]["frame_pts_ns"] == [500_000_000, 625_000_000]
    assert (document["clip"]["row"], document["clip"]["file"]) == (1, clip.file)
    assert document["plan_row"]["source"]["uri"] == document["ledger_row"]["source"] == URI


def test_a_source_is_traced_to_clips_attempts_and_removals(run, tokens):
    said, code = run("trace", tokens, "--source", URI)
    assert code == 0
    ids = [clip.columns["clip_id"] for clip in Tracer(Folder(str(tokens))).source(URI).clips]
    assert all(clip in said for clip in ids)
    run("remove", tokens, "--source", URI, "--yes")
    said, code = run("trace", tokens, "--source", URI)
    assert code == 0
    assert "failed, removed, Taken down on request." in said
    assert "removed on 20" in said
    document = json.loads(run("trace", tokens, "--source", URI, "--json")[0])
    assert (document["clips"], document["ledger_rows"][0]["reason"]) == ([], "removed")
    assert document["removals"][0]["file"].startswith("removals/00000-")
    said, code = run("trace", tokens, "--clip", ids[0])
    assert (said.count("\n"), code) == (1, 2)
    assert "was removed on" in said


@pytest.mark.parametrize(
    "arguments", [(), ("--clip", "a", "--index", "1"), ("--shard", "a"), ("--clip", "a", "--key", "k")]
)
def test_a_trace_needs_one_name(run, tokens, arguments):
    said, code = run("trace", tokens, *arguments)
    assert (said.startswith("error: Give one of --clip ID"), code) == (True, 2)
