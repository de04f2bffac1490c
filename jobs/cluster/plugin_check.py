"""Asks the nodes of a cluster whether the package of a tokenizer plugin is installed there."""

from importlib.metadata import entry_points
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bitmill.schemas.errors import MissingPluginError
from bitmill.schemas.models.plugin_config import PLUGIN_GROUP

_ANSWER_S = 60.0
"""A node that has not answered by then is left to its actors, which load the plugin themselves."""

_MOST_NODES = 5
"""Nodes named in the error."""


def has_plugin(name: str) -> bool:
    """Whether this process's Python has the plugin; the body of the Ray task, which imports no torch."""
    return bool(entry_points(group=PLUGIN_GROUP, name=name))


_HAS_PLUGIN: Any = ray.remote(has_plugin)


def require_plugin(name: str, package: str | None, *, resource: str) -> None:
    """Raise MissingPluginError, naming the nodes, unless all live nodes with the resource have the plugin.

    ``package`` is the name and version to install, if known; ``resource`` is what actors need: CPU or GPU.
    """
    nodes: list[dict[str, Any]] = [
        node for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource)
    ]
    answers: dict[Any, str] = {}
    for node in nodes:
        # Without a CPU of its own: other jobs may hold all of them.
        task = _HAS_PLUGIN.options(
            num_cpus=0,
            name="bitmill plugin check",
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        answers[task.remote(name)] = node["NodeManagerAddress"]
    ready, late = (
        ray.wait(list(answers), num_returns=len(answers), timeout=_ANSWER_S) if answers else ([], [])
    )
    for reference in late:
        ray.cancel(reference, force=True)
    missing = sorted(answers[reference] for reference in ready if not _answer(reference))
    if missing:
        more = len(missing) - _MOST_NODES
        told = ", ".join(missing[:_MOST_NODES]) + (f" and {more} more" if more > 0 else "")
        raise MissingPluginError(
            f"The tokenizer plugin {name!r} is not installed on {len(missing)} of {len(nodes)} nodes of the "
            f"cluster ({told}): install {package or 'the package that offers it'} there, in the Python that "
            "runs Ray, and run the same command again."
        )


def _answer(reference: Any) -> bool:
    try:
        return ray.get(reference, timeout=_ANSWER_S)
    except RayError:
        # The node has just gone.
        return True
