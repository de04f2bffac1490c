"""Audits chunks of shards as Ray tasks of one CPU each. Every node must see the dataset's folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bitmill.jobs.cluster.tokenizing.actor_handles import first_line
from bitmill.pipeline.auditing.parallel import AHEAD, Chunk, in_order
from bitmill.pipeline.auditing.result import ShardsAudit
from bitmill.pipeline.auditing.shard_auditor import ShardAuditor
from bitmill.schemas.errors import BitmillError, InfrastructureError

_LOOK_S = 5.0
_RETRIES = 3
"""Retries of a task whose process or node died."""


def audit_task(auditor: ShardAuditor, chunk: Chunk) -> ShardsAudit:
    """Audit one chunk; the body of the Ray task."""
    return auditor.audit(chunk)


_AUDIT: Any = ray.remote(audit_task)


@dataclass(frozen=True)
class ClusterTasks:
    """Runs up to ``tasks`` Ray tasks at once. Ray must be connected already."""

    tasks: int

    def __call__(self, auditor: ShardAuditor, chunks: Sequence[Chunk]) -> Iterator[ShardsAudit]:
        """Audit the chunks in order. Raises a task's error; InfrastructureError if the cluster loses one."""
        pool = _TaskPool(auditor, self.tasks)
        try:
            yield from in_order(chunks, pool, max_pending=AHEAD * self.tasks)
        finally:
            pool.end()


class _TaskPool:
    """Running tasks and the number of each one's chunk."""

    def __init__(self, auditor: ShardAuditor, tasks: int) -> None:
        # Stored once per node, not sent per chunk: it may contain the places of many retried sources.
        self._auditor = ray.put(auditor)
        self._tasks = tasks
        self._under_way: dict[Any, int] = {}

    def has_room(self) -> bool:
        return len(self._under_way) < self._tasks

    def send(self, number: int, chunk: Chunk) -> None:
        task = _AUDIT.options(num_cpus=1, max_retries=_RETRIES, name="bitmill audit")
        self._under_way[task.remote(self._auditor, chunk)] = number

    def receive(self) -> dict[int, ShardsAudit]:
        ready: list[Any] = []
        while not ready:
            ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=_LOOK_S)
        return {self._under_way.pop(reference): _result(reference) for reference in ready}

    def end(self) -> None:
        for reference in self._under_way:
            ray.cancel(reference, force=True)


def _result(reference: Any) -> ShardsAudit:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, BitmillError):
            raise error.cause from None
        raise
    except RayError as error:
        raise InfrastructureError(
            f"The cluster lost an audit task: {first_line(error)} Run the same command again."
        ) from error
