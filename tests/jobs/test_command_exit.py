"""How commands end where the output, or bitmill itself, fails: in this process, on real streams."""

import io
import json
import os
import re
import sys
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
