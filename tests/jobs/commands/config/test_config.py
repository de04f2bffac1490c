"""``bitmill config`` as a user types it."""

import sys

import pytest

from bitmill.jobs.cli import main
from bitmill.jobs.preparation.prepare import prepare
from bitmill.schemas.requests.job import load_job
from tests.support.media import jpeg_photo, plain_mp4


@pytest.fixture
def run(capsys, monkeypatch):
    def of(*words) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["bitmill", "config", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return of


def test_keys_are_listed_and_found(run):
    code, out, _ = run("keys")
    assert code == 0
    assert "sampling.fps" in out
    assert "whole number" in out
    code, out, _ = run("keys", "train", "--find", "mirror")
    assert [line.split()[0] for line in out.splitlines()] == ["key", "data.flip"]
    code, _, err = run("keys", "--find", "nosuchthing")
    assert (code, err) == (2, "error: No key of this file has 'nosuchthing' in its name or meaning.\n")


@pytest.mark.slow
def test_a_new_job_file_tells_what_the_folder_has_and_is_a_job(run, tmp_path):
    media, out = tmp_path / "my media", tmp_path / "job.yaml"
    media.mkdir()
    plain_mp4(media / "a.mp4")
    jpeg_photo(media / "b.jpg")
    (media / "c.mp4").write_bytes(b"no video")
    code, told, _ = run("new", media, tmp_path / "tokens", "--out", out)
    assert code == 0
    assert "1 video of " in told
    assert "1 that cannot be read" in told
    job = load_job(out.read_text(), origin="job.yaml")
    assert (job.source.paths, job.output) == ([str(media)], str(tmp_path / "tokens"))
    assert job.tokenizer.bundled == "small-1"
    assert "null takes every frame; these have mostly " in out.read_text()
    code, _, err = run("new", media, tmp_path / "tokens", "--out", out)
    assert code == 2
    assert "exists; choose another file with --out" in err


def test_a_new_job_file_for_a_dataset_that_is_there_has_its_settings(run, tmp_path):
    media, out = tmp_path / "media", tmp_path / "job.yaml"
    media.mkdir()
    plain_mp4(media / "a.mp4")
    stored = f"""
        version: 1
        source: {{paths: [{media}]}}
        output: {tmp_path / "tokens"}
        tokenizer: {{preset: tiny}}
        sampling: {{fps: 8.0, clip_frames: 4}}
    """
    made = prepare(load_job(stored, origin="made"), cluster_has_gpus=lambda: False)
    code, told, _ = run("new", media, tmp_path / "tokens", "--out", out)
    assert code == 0
    assert f"{tmp_path / 'tokens'} already contains a dataset: the file has its settings" in told
    again = prepare(load_job(out.read_text(), origin="job.yaml"), cluster_has_gpus=lambda: False)
    assert again.card == made.card


def test_nothing_is_written_for_a_folder_without_media(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run("new", tmp_path / "empty", tmp_path / "tokens", "--out", tmp_path / "job.yaml")
    assert code == 2
    assert "No media was found" in err
    assert not (tmp_path / "job.yaml").exists()
