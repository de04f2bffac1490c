"""The promise of exactness: end the job anyhow, run the same command again, get the same bytes.

What it can tell of its end, it says beside its dataset.
"""

import os
import signal
from pathlib import Path

import pytest

from bitmill.schemas.reports.status_file import STATUS_FILE, JobStatus, read_status
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import bitmill, differences, ended, stored_files, wait_until
from tests.support.holding import Held, start_held

pytestmark = pytest.mark.ray


def test_the_undisturbed_run_is_complete(clips_run):
    _, done = clips_run
    assert done.code == 0, done.err
    assert done.err == ""


def test_a_run_killed_before_its_card_starts_anew(clips_folder, clips_run, tmp_path):
    output = tmp_path / "tokens"
    done = bitmill("plan", str(clips_folder), str(output), *CLIPS_OPTIONS)
    assert done.code == 0, done.err
    assert "4 shards, 0 of them committed" in done.out
    (output / "dataset.json").unlink()
    done = bitmill("plan", str(clips_folder), str(output), *CLIPS_OPTIONS)
    assert done.code == 0, done.err
    assert (output / "dataset.json").read_bytes() != b""
    plan = "plan/part-00000.parquet"
    assert (output / plan).read_bytes() == (clips_run[0] / plan).read_bytes()


def test_ended_in_every_way_and_each_time_run_again(tokenize, clips_folder, clips_run, tmp_path):
    output = tmp_path / "tokens"
    arguments = ("tokenize", str(clips_folder), str(output), *CLIPS_OPTIONS)

    def run_on(num_shards: int) -> Held:
        # Without grace what is at work is abandoned; one actor leaves work over.
        hasty = ("--set", "compute.actors=1", "--set", "compute.grace_s=0")
        return start_held(tmp_path / f"site-{num_shards}", *arguments, *hasty, num_shards=num_shards)

    left: list[dict[str, int]] = []
    for end, committed in (
        (_killed_with_the_plan, 0),
        (_killed_at_work, 1),
        (_ray_killed, 2),
        (_terminated, 3),
    ):
        end(run_on(committed), output, committed)
        left.append(_shards(output))
    assert [len(shards) for shards in left] == [0, 1, 2, 3]
    shown = bitmill("status", str(output))
    assert (shown.code, shown.out.split(":")[0]) == (6, "stopped")
    done = tokenize(*arguments[1:])
    assert done.code == 0, done.err
    assert differences(stored_files(output), stored_files(clips_run[0])) == {}
    # What was committed before an end stays as it was: the same file, not the same bytes anew.
    for shards in left:
        assert shards.items() <= _shards(output).items()
    status = _status(output)
    assert (status.state, status.items.done, status.shards.done) == ("complete", 4, 4)
    assert bitmill("status", str(output)).code == 0


def _shards(output: Path) -> dict[str, int]:
    """When each token shard was written."""
    return {path.name: path.stat().st_mtime_ns for path in output.glob("shards/*")}


def _status(output: Path) -> JobStatus:
    return read_status((output / STATUS_FILE).read_bytes(), origin="here")


def _wait_for_work(job: Held, output: Path, committed: int) -> None:
    """Until that much is committed, and an actor is at the next shard."""

    def at_work() -> bool:
        return job.is_held() and len(_shards(output)) >= committed

    wait_until(lambda: job.process.poll() is not None or at_work(), "commits, and an actor at work")
    assert job.process.poll() is None, ended(job.process)


def _killed_with_the_plan(job: Held, output: Path, committed: int) -> None:
    wait_until((output / "dataset.json").exists, "the plan")
    os.killpg(job.process.pid, signal.SIGKILL)
    job.process.wait()


def _killed_at_work(job: Held, output: Path, committed: int) -> None:
    _wait_for_work(job, output, committed)
    os.killpg(job.process.pid, signal.SIGKILL)
    job.process.wait()


def _ray_killed(job: Held, output: Path, committed: int) -> None:
    """Ray's own process ends, and the job tells of it."""
    _wait_for_work(job, output, committed)
    children = _children(job.process.pid)
    # It starts no more of Ray's own processes: no dashboard, no autoscaler, no forwarding of logs.
    assert sorted(children) == ["gcs_server", "raylet"]
    # Of the node's agent only what Ray has without its dashboard.
    assert "--minimal" in Path(f"/proc/{children['raylet']}/cmdline").read_text()
    os.kill(children["raylet"], signal.SIGKILL)
    done = ended(job.process)
    assert done.code == 5, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "(raylet) was killed from outside" in line
    status = _status(output)
    assert (status.state, status.exit_code) == ("failed", 5)


def _terminated(job: Held, output: Path, committed: int) -> None:
    """It is asked to end, and does, whole."""
    _wait_for_work(job, output, committed)
    job.process.send_signal(signal.SIGTERM)
    done = ended(job.process)
    assert done.code == 130, done.out + done.err
    assert "Interrupted; committed shards stay" in done.err
    assert "Traceback" not in done.out + done.err
    status = _status(output)
    assert (status.state, status.exit_code) == ("stopped", 130)


def _children(driver: int) -> dict[str, int]:
    """Process ids of a driver's children, by program or script."""
    words = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return {_program(_title(Path("/proc") / pid).split()): int(pid) for pid in words}


def _program(words: list[str]) -> str:
    is_python = Path(words[0]).name.startswith("python")
    return Path(next(word for word in words if word.endswith(".py")) if is_python else words[0]).name


def _title(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
