"""Ray's workers ask for huge pages, on a Ray of one's own and on a cluster; a user's own word counts more."""

import subprocess
import sys

import pytest

from bitmill.jobs.cluster.huge_page_workers import worker_variables
from tests.support.commands import HANGS_S, environment
from tests.support.ray_nodes import NO_TOKEN

pytestmark = pytest.mark.ray

_SCRIPT = """
import os, sys
import ray
from bitmill.jobs.cluster.connection.ray_session import Cluster

with Cluster(sys.argv[1] or None):
    print(ray.get(ray.remote(lambda: os.environ.get("GLIBC_TUNABLES")).remote()))
"""


def _tunables_of_a_worker(address: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, address],
        env=environment(NO_TOKEN),
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_ray_of_ones_own_has_workers_on_huge_pages() -> None:
    assert _tunables_of_a_worker() == "glibc.malloc.hugetlb=1"


def test_the_users_own_tunables_are_left_alone(monkeypatch) -> None:
    # Workers inherit what they are given no other value of.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert worker_variables() == {}


def test_a_cluster_has_workers_on_huge_pages(ray_cluster) -> None:
    assert _tunables_of_a_worker(ray_cluster.address) == "glibc.malloc.hugetlb=1"
