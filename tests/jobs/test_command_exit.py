"""How commands end where the output, or bitmill itself, fails: in this process, on real streams."""

import errno
import io
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.commands.dataset import inspect_dataset
from bitmill.jobs.console import print_json
from tests.support.datasets import make_dataset


def _ends(monkeypatch, *arguments: str) -> int:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", *arguments])
    with pytest.raises(SystemExit, match=r"^\d+$") as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _nobody_reads(monkeypatch) -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.fdopen(writing, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    return stdout


@pytest.mark.parametrize("error", [KeyError("weights"), BrokenPipeError(32, "Broken pipe")])
def test_an_unexpected_error_is_a_sentence_a_code_and_a_file(error, capsys, monkeypatch, tmp_path):
    def fails(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(inspect_dataset, "show", fails)
    assert _ends(monkeypatch, "inspect", str(tmp_path)) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: An unexpected error occurred (")
    assert str(error) in line
    file = Path(re.findall(r"is in (\S+\.txt),", line)[0])
    assert f"{type(error).__name__}: " in file.read_text()
    assert "in fails" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    file.unlink()


@pytest.mark.parametrize(
    "words",
    # The help of tokenize is longer than the output's buffer.
    [("--help",), ("plan", "--help"), ("tokenize", "--help"), ("weights", "fetch", "--help"), ("--version",)],
)
def test_a_help_that_nobody_reads_ends_in_silence(words, capsys, monkeypatch):
    with _nobody_reads(monkeypatch):
        assert _ends(monkeypatch, *words) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [("inspect",), ("status", "--json")])
def test_where_nobody_reads_the_output_nothing_is_said(command, capsys, monkeypatch, tmp_path):
    make_dataset(str(tmp_path), [[4], [2]])
    with _nobody_reads(monkeypatch):
        assert _ends(monkeypatch, command[0], str(tmp_path), *command[1:]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [("--help",), ("tokenize", "--help"), ("inspect", "{}")])
def test_an_output_on_a_full_disk_is_a_sentence(words, capsys, monkeypatch, tmp_path):
    make_dataset(str(tmp_path), [[4], [2]])
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert _ends(monkeypatch, *(word.format(tmp_path) for word in words)) == 5
    told = "error: No space left on the disk of the output; free some and run it again.\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_output_hides_nothing_but_what_is_written_to_it(stream, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, stream, None)
    make_dataset(str(tmp_path), [[4], [2]])
    assert _ends(monkeypatch, "inspect", str(tmp_path)) == 0
    monkeypatch.setattr(sys, stream, None)
    assert _ends(monkeypatch, "inspect", str(tmp_path / "none")) == 2


def test_a_message_that_cannot_be_written_keeps_its_code(monkeypatch, tmp_path):
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert _ends(monkeypatch, "inspect", str(tmp_path)) == 2
        monkeypatch.setattr(sys, "stderr", sys.__stderr__)
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_a_place_that_cannot_be_written_is_a_sentence(number, capsys, monkeypatch, tmp_path):
    def fails(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), "/data/x")

    monkeypatch.setattr(inspect_dataset, "show", fails)
    assert _ends(monkeypatch, "inspect", str(tmp_path)) == 2
    told = f"error: /data/x: {os.strerror(number)}; choose another place, or get access to it.\n"
    assert capsys.readouterr().err == told


def test_an_output_that_is_no_utf8_gets_escapes(monkeypatch, tmp_path):
    folder = tmp_path / "töne…"
    make_dataset(str(folder), [[4], [2]])
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    assert _ends(monkeypatch, "inspect", str(folder)) == 0
    assert rb"t\xf6ne\u2026" in out.getvalue()


def test_json_is_the_same_whatever_the_output_is(monkeypatch):
    document = {"dataset": "/töne…/\U0001f600"}
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="latin-1"))
    print_json(json.dumps(document, ensure_ascii=False))
    sys.stdout.flush()
    assert json.loads(out.getvalue()) == document
