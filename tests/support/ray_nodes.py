"""Nodes of Ray's own simulated clusters, without the processes that no test looks at."""

from typing import Any

LEAN: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Arguments of a node: no dashboard, no forwarding of logs, no autoscaler."""

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
"""The environment of such a cluster, and of what joins it."""

JOINING = {**NO_TOKEN, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The same, of a command that leaves its workers' environment to the cluster: they start sooner."""
