"""``bitmill export`` as a user types it: killed and run again, stopped, told, refused."""

import io
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.commands.dataset.export import ExportView
from bitmill.jobs.console import Console
from bitmill.pipeline.exporting import ExportProgress, export_dataset
from bitmill.schemas.reports.export_inventory import INVENTORY_FILE, ExportFormat
from tests.support.commands import HANGS_S, Running, bitmill, start, wait_until
from tests.support.datasets import make_dataset
from tests.support.exports import files_in

MANY = [[1] * 20 for _ in range(10)]
"""Clips enough that an export with a file for each is not over before it is killed."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 200 clips."""
    folder = tmp_path_factory.mktemp("many") / "tokens"
    make_dataset(str(folder), MANY, max_sources=20)
    return folder


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[ExportFormat], dict]:
    """All files of an export that nobody disturbs, by its format."""

    @cache
    def files(export_format: ExportFormat) -> dict[str, bytes]:
        out = tmp_path_factory.mktemp("undisturbed") / "out"
        export_dataset(str(many), str(out), export_format=export_format, max_bytes=1)
        return files_in(out)

    return files


def _arguments(dataset: Path, out: Path, export_format: ExportFormat, workers: int) -> tuple[str, ...]:
    options = ("--to", export_format, "--max-bytes", "1", "--workers", str(workers))
    return ("export", str(dataset), str(out), *options)


def _start(arguments: tuple[str, ...], out: Path) -> Running:
    """A command that has published a few files."""
    process = start(*arguments)
    wait_until(lambda: sum("0" in name for name in files_named(out)) >= 3, "files")
    return process


def files_named(out: Path) -> set[str]:
    """Names of published files."""
    return {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file() and ".staging" not in path.parts
    }


_ALONE = [
    (export_format, workers, False) for export_format, workers in zip(ExportFormat, (1, 2, 1), strict=True)
]


@pytest.mark.slow
@pytest.mark.parametrize(("export_format", "workers", "with_workers"), [*_ALONE, (ExportFormat.BIN, 2, True)])
def test_killed_in_the_middle_and_run_again(
    many, undisturbed, tmp_path, export_format, workers, with_workers
):
    out = tmp_path / "out"
    arguments = _arguments(many, out, export_format, workers)
    process = _start(arguments, out)
    children = _children(process.pid)
    assert bool(children) == (workers > 1)
    if with_workers:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the workers' end")
    left = files_named(out)
    assert files_named(out) == left
    assert INVENTORY_FILE not in left
    times = {name: (out / name).stat().st_mtime_ns for name in left}
    # Of several processes, each would import the libraries anew.
    done = bitmill(*_arguments(many, out, export_format, 1))
    assert (done.code, done.err) == (0, "")
    assert f"; {len(left) - 1} of them existed already" in done.out
    assert {name: (out / name).stat().st_mtime_ns for name in left} == times
    assert files_in(out) == undisturbed(export_format)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_stopped_with_a_sentence(many, tmp_path, number, workers):
    out = tmp_path / "out"
    process = _start(_arguments(many, out, ExportFormat.BIN, workers), out)
    # As a terminal does it for Ctrl-C: to everyone in the group.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130
    assert err == "error: Interrupted; published files stay. Run the same command again to resume.\n"
    assert not (out / ".staging").exists()
    assert INVENTORY_FILE not in files_named(out)


def _children(pid: int) -> list[int]:
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in words]


def _run(capsys, monkeypatch, *arguments: str) -> tuple[str, str]:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", "export", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return captured.out + captured.err, str(ended.value)


def test_the_command_says_what_it_wrote(capsys, monkeypatch, tmp_path):
    make_dataset(str(tmp_path / "tokens"), [[4, 2], [3]])
    arguments = (str(tmp_path / "tokens"), str(tmp_path / "out"), "--to", "bin")
    said, code = _run(capsys, monkeypatch, *arguments)
    assert code == "0"
    assert said.startswith(f"wrote {tmp_path}/out: 3 clips, 9 frames, 36 tokens as uint32, ")
    assert said.endswith(" in 4 files\n")
    again, code = _run(capsys, monkeypatch, *arguments)
    assert (again, code) == (f"nothing to do; already exported: {said.removeprefix('wrote ')}", "0")


def test_refusals_are_sentences(capsys, monkeypatch, tmp_path):
    make_dataset(str(tmp_path / "tokens"), [[4], [2], [1]], leave_out=1)
    arguments = (str(tmp_path / "tokens"), str(tmp_path / "out"), "--to", "huggingface")
    said, code = _run(capsys, monkeypatch, *arguments)
    assert (said.startswith("error: "), code) == (True, "2")
    assert "or export the finished shards with --allow-incomplete" in said
    said, code = _run(capsys, monkeypatch, *arguments, "--allow-incomplete")
    assert (said.startswith("wrote "), code) == (True, "0")
    said, code = _run(capsys, monkeypatch, *arguments[:2], "--to", "tfrecord")
    assert code == "2"
    assert "'webdataset', 'bin', 'huggingface'" in said


def test_progress_tells_rate_and_remaining_time():
    now = [0.0]
    out = io.StringIO()
    with ExportView(Console(file=out, width=200), clock=lambda: now[0]) as view:
        view.show(ExportProgress(listed_shards=1, shards=9))
        now[0] = 11
        view.show(ExportProgress(listed_shards=5, shards=9))
        now[0] = 20
        view.show(ExportProgress(clips=1000, done_clips=0))
        now[0] = 30
        view.show(ExportProgress(clips=1000, done_clips=200, done_bytes=50 << 20))
        now[0] = 31
        view.show(ExportProgress(clips=1000, done_clips=220, done_bytes=55 << 20))
        now[0] = 90
        view.show(ExportProgress(listed_shards=9, shards=9))
    assert out.getvalue().splitlines() == [
        "listing clips: 5/9 shards",
        "200/1,000 clips · 20 clips/s, 5.0 MiB/s · 40 s left",
        "listing clips: 9/9 shards",
    ]


def test_progress_is_live_on_a_terminal():
    now = [0.0]
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, _environ={})
    with ExportView(console, clock=lambda: now[0]) as view:
        now[0] = 1
        view.show(ExportProgress(clips=10, done_clips=0))
        now[0] = 2
        view.show(ExportProgress(clips=10, done_clips=5, done_bytes=100))
    assert "5/10 clips · 5.0 clips/s, 100 B/s · 1.0 s left" in out.getvalue()
