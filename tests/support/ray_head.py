"""A real Ray head with token authentication and a job server, as an administrator starts one.

It has a folder and ports of its own, and is ended by its own processes alone: other tests may have a Ray
running.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import wait_until
from tests.support.ports import free_ports

MARK = "BITMILL_TEST_RAY_HEAD"
"""A variable that a head and all processes of it inherit: ``end_marked`` finds them by its value."""


@dataclass(frozen=True)
class RayHead:
    """Addresses of a running head, its token, and where everything of it is written."""

    address: str
    """Of the job server: http://127.0.0.1:PORT."""
    gcs_address: str
    metrics_address: str
    """Of the page that Prometheus reads."""
    token: str = field(repr=False)
    token_file: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a client that may talk to it has set."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}


@contextmanager
def ray_head(*, num_cpus: int = 2, settings: Mapping[str, str] | None = None) -> Generator[RayHead]:
    """Start a head; gives it when its job server answers. Socket paths are short, so it lies below /tmp.

    ``settings`` are variables of its environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="bmr", dir="/tmp"))
    token, mark = secrets.token_hex(32), secrets.token_hex(8)
    token_file = folder / "token"
    token_file.write_text(token)
    gcs, dashboard, *others = free_ports(6)
    words = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *(
            "--num-cpus",
            str(num_cpus),
            "--object-store-memory",
            str(256 << 20),
            "--temp-dir",
            f"{folder}/ray",
        ),
        *("--node-ip-address", "127.0.0.1", "--port", str(gcs)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--ray-client-server-port", str(others[0]), "--dashboard-agent-listen-port", str(others[1])),
        *("--dashboard-agent-grpc-port", str(others[2]), "--metrics-export-port", str(others[3])),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        # Whoever activates the environment of the head has its Python first.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # Workers as eager as the rest: a busy machine would starve a test's job at Ray's own 15.
        "RAY_worker_niceness": "0",
        **(settings or {}),
        MARK: mark,
    }
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            words, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(address, token), "the head's job server")
        assert process.poll() is None, (folder / "out").read_text()
        yield RayHead(
            address=address,
            gcs_address=f"127.0.0.1:{gcs}",
            metrics_address=f"http://127.0.0.1:{others[3]}/metrics",
            token=token,
            token_file=token_file,
            folder=folder,
        )
    finally:
        _end(process, mark)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str, token: str) -> bool:
    request = urllib.request.Request(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    end_marked(mark)
    process.wait(timeout=20)


def end_marked(mark: str) -> None:
    """End all processes whose MARK has this value."""
    # Until none is left: a process may start another while it is being killed.
    end = time.monotonic() + 30
    while (left := _marked(mark)) and time.monotonic() < end:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _marked(mark: str) -> list[int]:
    """Living processes that have inherited the head's mark."""
    wanted = f"{MARK}={mark}".encode()
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found
