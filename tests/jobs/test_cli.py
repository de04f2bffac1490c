"""What the command line prints of datasets, in this process."""

import sys

import pytest

from bitmill.jobs.cli import main
from tests.support.datasets import make_dataset


def _out(capsys, monkeypatch, *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", *arguments])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    return capsys.readouterr().out


def test_brackets_in_names_are_no_markup(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "[bold]tokens[/]"
    make_dataset(str(folder), [[4], [2]])
    out = _out(capsys, monkeypatch, "inspect", str(folder))
    assert f"dataset    {folder}" in out


def test_an_unfinished_dataset_says_so(capsys, monkeypatch, tmp_path):
    make_dataset(str(tmp_path), [[4], [2], [1]], leave_out=1)
    out = _out(capsys, monkeypatch, "inspect", str(tmp_path), "--clips", "1")
    assert "1 of 2 committed (NOT complete)" in out
    assert out.count("0000.mp4") == 1


def test_the_version_is_the_packages(capsys, monkeypatch):
    assert _out(capsys, monkeypatch, "--version").startswith("bitmill ")
