"""Ray's workers ask for huge pages, on a Ray of one's own and on a cluster; a user's own word counts more."""

import subprocess
import sys

import pytest
from ray.cluster_utils import Cluster as RayCluster

from tests.support.commands import HANGS_S, environment

pytestmark = pytest.mark.ray

_NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}

_SCRIPT = """
import os, sys
import ray
from bitmill.jobs.cluster.session import Cluster

with Cluster(sys.argv[1] or None):
    print(ray.get(ray.remote(lambda: os.environ.get("GLIBC_TUNABLES")).remote()))
"""


def _tunables_of_a_worker(address: str = "", **own: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, address],
        env=environment(_NO_TOKEN | own),
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_ray_of_ones_own_has_workers_on_huge_pages() -> None:
    assert _tunables_of_a_worker() == "glibc.malloc.hugetlb=1"


def test_the_users_own_tunables_are_left_alone() -> None:
    own = "glibc.malloc.check=0"
    assert _tunables_of_a_worker(GLIBC_TUNABLES=own) == own


def test_a_cluster_has_workers_on_huge_pages(monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        assert _tunables_of_a_worker(cluster.address) == "glibc.malloc.hugetlb=1"
    finally:
        cluster.shutdown()
