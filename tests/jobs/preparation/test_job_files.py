"""Options that stand for keys of a job: what is no value is told with its key."""

import sys

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.preparation.job_files import assignment
from bitmill.schemas.errors import BadJobError


@pytest.mark.parametrize("value", ["2024-13-45", "[1", "{fps: 1, fps: 2}", "[" * 10_000])
def test_what_is_no_value_is_told_with_its_key(value):
    with pytest.raises(BadJobError, match=r"^--set sampling\.fps: .* is not a YAML value: .*\.$"):
        assignment(f"sampling.fps={value}")


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "/media", "/tokens"),
        ("evaluate", "tiny", "/media"),
        ("compress", "/media/a.png", "/tmp/a.bmz"),
        ("sample", "clips", "small-1", "/tmp/out", "--continue", "/media/a.mp4"),
    ],
)
@pytest.mark.parametrize(
    ("fps", "told"), [("0", "must be above 0.0"), ("nan", "must be finite"), ("inf", "must be")]
)
def test_a_frame_rate_is_checked_before_any_work(words, fps, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bitmill", *words, "--fps", fps])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: --fps {told}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
