"""``deploy/slurm.sbatch`` on one machine: the script itself and a real Ray, with stand-ins for Slurm."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitmill.schemas.reports.status_file import STATUS_FILE, ActorCounts, read_status
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import REPOSITORY, environment, stored_files, wait_until
from tests.support.ray_head import MARK, end_marked
from tests.support.sabotage import Sabotage

pytestmark = pytest.mark.ray

_RAY_FAILED = 5
"""The exit code where Ray gives up starting on too busy a machine; Slurm would start the job again."""

_COMMANDS = {
    # Every option has its value in the same word.
    "srun": 'while [[ $1 == -* ]]; do shift; done\nexec "$@"',
    "squeue": "echo RUNNING",
    "scontrol": 'echo "$@" >> "$REQUEUED"',
    "ray": f'exec {sys.executable} -m ray.scripts.scripts "$@" --include-dashboard=false',
    "python": f'exec {sys.executable} "$@"',
    "bitmill": f'exec {Path(sys.executable).with_name("bitmill")} "$@"',
}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that Slurm gives to the script of a job of one node."""
    (tmp_path / "bin").mkdir()
    for name, body in _COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    mark = str(tmp_path)
    with tempfile.TemporaryDirectory(prefix="bmr", dir="/tmp") as short:
        yield environment(
            {
                "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "REQUEUED": str(tmp_path / "requeued"),
                "RAY_TMPDIR": short,
                "RAY_worker_niceness": "0",
                "SLURM_NNODES": "1",
                "SLURM_CPUS_PER_TASK": "2",
                "SLURM_MEM_PER_NODE": "1000",
                "SLURMD_NODENAME": "here",
                MARK: mark,
            }
        )
        end_marked(mark)


def _start(slurm: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """Start the script, as a job of such a number that its ports are free."""
    pid = os.getpid()
    job = next(number for number in range(pid, pid + 5_000) if _is_free(20_000 + number % 5_000 * 2))
    return subprocess.Popen(
        ["bash", str(REPOSITORY / "deploy" / "slurm.sbatch"), *arguments],
        env=slurm | {"SLURM_JOB_ID": str(job)},
    )


def _is_free(port: int) -> bool:
    for number in (port, port + 1):
        with socket.socket() as one:
            if one.connect_ex((socket.gethostname(), number)) == 0:
                return False
    return True


def _is_running(output: Path) -> bool:
    file = output / STATUS_FILE
    if not file.exists():
        return False
    status = read_status(file.read_bytes(), origin=str(file))
    # A driver that is still joining Ray would end as well, but with nothing to finish.
    return status.state == "running" and status.actors != ActorCounts()


def test_a_job_near_the_end_of_its_time_requeues_itself_and_goes_on(slurm, clips_folder, clips_run, tmp_path):
    output, undisturbed = tmp_path / "tokens", clips_run[0]
    job = (
        str(clips_folder),
        str(output),
        *CLIPS_OPTIONS,
        "--set",
        "compute.actors=1",
        "--set",
        "compute.decoders=1",
    )
    (tmp_path / "sabotage").mkdir()
    sabotage = Sabotage(tmp_path / "sabotage")
    # Else it might be done before it is told.
    held = (slurm | sabotage.environment, *job, "--set", "compute.grace_s=2")

    def works() -> bool:
        if runs[-1].poll() == _RAY_FAILED:
            runs.append(_start(*held))
        return runs[-1].poll() is not None or _is_running(output)

    with sabotage.pause():
        runs = [_start(*held)]
        wait_until(works, "the driver at work")
        # As --signal=B:TERM@120 sends it: to the script alone.
        runs[-1].send_signal(signal.SIGTERM)
        assert runs[-1].wait() == 130
    assert (tmp_path / "requeued").read_text().startswith("requeue ")
    assert len(list(output.glob("shards/*"))) < len(list(undisturbed.glob("shards/*")))
    while (code := _start(slurm, *job).wait()) == _RAY_FAILED:
        pass
    assert code == 0
    assert stored_files(output) == stored_files(undisturbed)
