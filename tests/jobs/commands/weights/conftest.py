"""Runs ``bitmill weights import``."""

import sys
from collections.abc import Callable

import pytest

from bitmill.jobs.cli import main

Run = Callable[..., tuple[int, str, str]]
"""Of the words after the command: exit code, output, errors."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def _run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["bitmill", "weights", "import", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return _run
