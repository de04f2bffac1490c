"""Nodes of Ray's own simulated clusters, without the processes that no test looks at."""

from typing import Any

from ray.cluster_utils import Cluster

from bitmill.jobs.cluster.connection.local_ray import no_unused_processes

LEAN: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Arguments of a node: no dashboard, no forwarding of logs, no autoscaler."""

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
"""The environment of such a cluster, and of what joins it."""

JOINING = {**NO_TOKEN, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The same, of a command that leaves its workers' environment to the cluster: they start sooner."""


def lean_cluster(*, num_cpus: int) -> Cluster:
    """Start a cluster of a head that has CPUs for tasks, or none; the caller shuts it down."""
    with no_unused_processes():
        return Cluster(initialize_head=True, head_node_args={"num_cpus": num_cpus, **LEAN})


def add_lean_node(cluster: Cluster, *, num_cpus: int) -> Any:
    """Add a node to such a cluster; gives it as ``remove_node`` takes it."""
    with no_unused_processes():
        return cluster.add_node(num_cpus=num_cpus, **LEAN)
