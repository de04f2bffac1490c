"""Nodes of Ray's own simulated clusters, without the processes that no test looks at."""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from bitmill.jobs.cluster.connection.local_ray import no_unused_processes
from tests.support import start_fork
from tests.support.commands import REPOSITORY, wait_until
from tests.support.forked import AT_IMPORT

_PROGRAM = str(Path(start_fork.__file__))

LEAN: dict[str, Any] = {
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
    "worker_path": _PROGRAM,
}
"""Arguments of a node: no dashboard, no forwarding of logs, no autoscaler; workers are forked."""

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
"""The environment of such a cluster, and of what joins it."""

JOINING = {**NO_TOKEN, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The same, of a command that leaves its workers' environment to the cluster: they start sooner."""


def lean_cluster(*, num_cpus: int) -> Cluster:
    """Start a cluster of a head that has CPUs for tasks, or none; the caller shuts it down."""
    with no_unused_processes(), _forked_agents():
        return Cluster(initialize_head=True, head_node_args={"num_cpus": num_cpus, **LEAN})


def add_lean_node(cluster: Cluster, *, num_cpus: int) -> Any:
    """Add a node to such a cluster; gives it as ``remove_node`` takes it."""
    with no_unused_processes(), _forked_agents():
        return cluster.add_node(num_cpus=num_cpus, **LEAN)


@contextmanager
def _forked_agents() -> Generator[None]:
    """The agents of a node that is started in the block are forked, and its workers can be."""
    services: Any = importlib.import_module("ray._private.services")
    before = services._build_python_executable_command_memory_profileable
    services._build_python_executable_command_memory_profileable = lambda *_: [sys.executable, "-u", _PROGRAM]
    os.environ[start_fork.PLACE] = _fork_server()
    try:
        yield
    finally:
        services._build_python_executable_command_memory_profileable = before
        del os.environ[start_fork.PLACE]


@cache
def _fork_server() -> str:
    """The socket of a server that ends with this process."""
    place = f"{tempfile.mkdtemp()}/forks"
    words = (sys.executable, "-m", "tests.support.fork_server", place)
    server = subprocess.Popen(words, cwd=REPOSITORY, env=AT_IMPORT)
    wait_until(lambda: Path(place).exists() or server.poll() is not None, "the fork server")
    assert server.poll() is None, "the fork server ended"
    return place
