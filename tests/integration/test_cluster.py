"""A cluster of several nodes: a node that is lost in the middle costs nothing."""

import subprocess

import pytest
from ray.cluster_utils import Cluster as RayCluster

from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import HANGS_S, command, environment, stored_files, wait_until

pytestmark = pytest.mark.ray

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # The head holds no CPU, so that all work is on nodes that may go.
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def test_a_lost_node_costs_nothing(cluster, clips_folder, clips_run, tmp_path):
    doomed = cluster.add_node(num_cpus=2)
    output = tmp_path / "tokens"
    process = subprocess.Popen(
        command("tokenize", str(clips_folder), str(output), *CLIPS_OPTIONS, "--address", cluster.address),
        env=environment(NO_TOKEN),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shards = output / "shards"
    wait_until(lambda: shards.exists() and any(shards.iterdir()), "a commit")
    cluster.remove_node(doomed, allow_graceful=False)
    cluster.add_node(num_cpus=2)
    out, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    assert stored_files(output) == stored_files(clips_run[0])
