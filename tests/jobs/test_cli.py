"""What the command line prints of datasets, in this process."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from bitmill.jobs.cli import app, main
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


def _options(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    for below, one in getattr(command, "commands", {}).items():
        yield from _options(f"{name} {below}", one)
    for option in command.params:
        if option.param_type_name == "option" and option.name != "help":
            yield f"{name} {option.opts[0]}", option


def test_every_option_says_what_it_is_by_default():
    """Of one without a value, its help does; ``trace`` takes one of several."""
    silent = [
        name
        for name, option in _options("bitmill", get_command(app))
        if not option.help
        or (
            not (option.required or option.is_flag)
            and option.default is None
            and not any(word in option.help for word in ("default: ", "repeatable"))
        )
    ]
    assert silent == [f"bitmill trace --{name}" for name in ("clip", "index", "shard", "row", "source")]
