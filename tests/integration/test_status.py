"""A job that is ended from outside says so beside its dataset, and resumes."""

import signal

import pytest

from bitmill.schemas.reports.status_file import read_status
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import HANGS_S, bitmill, start, stored_files, wait_until

pytestmark = pytest.mark.ray


def test_sigterm_ends_a_job_whole_and_it_resumes(tokenize, clips_folder, clips_run, tmp_path):
    output = tmp_path / "tokens"
    arguments = ("tokenize", str(clips_folder), str(output), *CLIPS_OPTIONS)
    # Without grace what is at work is abandoned; one actor leaves work over.
    hasty = ("--set", "compute.actors=1", "--set", "compute.grace_s=0")
    process = start(*arguments, *hasty)
    shards = output / "shards"
    wait_until(lambda: shards.exists() and any(shards.iterdir()), "a commit")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130, out + err
    assert "Interrupted; committed shards stay" in err
    assert "Traceback" not in out + err
    status = read_status((output / "status.json").read_bytes(), origin="here")
    assert (status.state, status.exit_code) == ("stopped", 130)
    shown = bitmill("status", str(output))
    assert (shown.code, shown.out.split(":")[0]) == (6, "stopped")
    done = tokenize(*arguments[1:])
    assert done.code == 0, done.err
    assert stored_files(output) == stored_files(clips_run[0])
    status = read_status((output / "status.json").read_bytes(), origin="here")
    assert (status.state, status.items.done, status.shards.done) == ("complete", 4, 4)
    assert bitmill("status", str(output)).code == 0
