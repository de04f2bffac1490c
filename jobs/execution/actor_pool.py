"""The actor pool of a run: sizes it to the cluster, assigns shards, watches and replaces actors."""

import time
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from bitmill.jobs.cluster.connection.ray_session import Cluster
from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_handles import Work
from bitmill.jobs.preparation.prepare import PreparedJob
from bitmill.jobs.scheduling.actor_events import ActorLostError, Assignment, Loss, Withdrawn
from bitmill.jobs.scheduling.autoscaling import actor_cpus, actors_too_many, actors_wanted, decode_window_size
from bitmill.jobs.scheduling.heartbeat import QUIET_S, HeartbeatMonitor
from bitmill.jobs.scheduling.shard_queue import ShardQueue
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.ids import content_id
from bitmill.schemas.reports.status_file import ActorCounts
from bitmill.schemas.requests.job import Device

_LOOK_EVERY_S = 2.0
"""How often the cluster is checked for nodes that were added or removed."""

_DEATHS_WITHOUT_NEWS = 5
"""The run fails after this many actors died while starting without any event from a shard in between."""


class ActorPool:
    """Runs the queue's shards on the cluster's actors. Only ``events`` blocks, up to its timeout."""

    def __init__(
        self,
        prepared: PreparedJob,
        queue: ShardQueue,
        cluster: Cluster,
        *,
        run_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compute = prepared.job.compute
        self._device: Device = prepared.device
        self.queue = queue
        self._cluster = cluster
        self._clock = clock
        self._monitor = HeartbeatMonitor(prepared.job.limits.item_timeout_s + QUIET_S, clock)
        self._clip_bytes = prepared.job.sampling.num_clip_frames * 3 * prod(prepared.context.sizes.largest)
        self._works: dict[int, Work] = {}
        self._dead: dict[int, ActorLostError] = {}
        self._deaths = 0
        self._capacity = cluster.capacity()
        self._looked = clock()
        if self._device == "cuda" and not self._capacity.gpus and not self._may_get_gpus():
            raise InfrastructureError("The job runs on cuda, but the cluster has no GPU.")
        settings = ActorSettings(
            context=prepared.context,
            output=prepared.folder.uri,
            device=prepared.device,
            name=run_name(prepared.folder.uri, run_id),
            takedown=prepared.takedown,
        )
        files = TokenizerFiles(files=prepared.tokenizer.files)
        num_gpus = self._compute.gpus_per_actor if self._device == "cuda" else 0.0
        self._actors = cluster.start_actors(files, settings, num_gpus)
        self._fit()

    @property
    def num_actors(self) -> int:
        """The number of actors that run, start, or wait for resources."""
        return len(self._actors.held_cpus())

    @property
    def count(self) -> ActorCounts:
        """The number of actors by state."""
        ready = len(self.queue.actors)
        at_work = len(self.queue.at_work)
        return ActorCounts(at_work=at_work, idle=ready - at_work, starting=max(0, self.num_actors - ready))

    def tick(self) -> None:
        """Process withdrawn shards, resize the pool to the cluster, assign shards, check heartbeats."""
        for assignment, had_not_begun in self._actors.withdrawn():
            if had_not_begun:
                self._take_withdrawn(assignment)
        self._take_in()
        if self._clock() - self._looked >= _LOOK_EVERY_S:
            self._looked = self._clock()
            self._capacity = self._cluster.capacity()
        self._fit()
        self._give_out()
        self._check_heartbeats()

    def events(self, timeout_s: float) -> Iterator[tuple[Assignment, Any]]:
        """Yields what running shards report: (assignment, event), or (assignment, ActorLostError)."""
        works = [self._works[assignment.number] for assignment in self.queue.at_work]
        for work, event in self._actors.events(works, timeout_s):
            assignment = work.assignment
            if assignment.number not in self._works:
                continue
            if isinstance(event, Withdrawn):
                self._take_withdrawn(assignment)
                continue
            if not isinstance(event, ActorLostError):
                self._deaths = 0
                self._monitor.alive(assignment.actor)
            yield assignment, event

    def ended(self) -> Iterator[tuple[Assignment, ActorLostError]]:
        """Ends dead, hung and surplus actors; yields the shards that these were working on.

        After nodes left, the remaining actors may hold every CPU, and their decoders would never start.
        """
        busy = {assignment.actor: assignment for assignment in self.queue.at_work}
        while self._dead:
            actor, error = self._dead.popitem()
            if actor in busy:
                yield busy.pop(actor), error
        for actor in self._monitor.overdue(busy):
            self._actors.remove(actor)
            yield busy.pop(actor), ActorLostError(Loss.HUNG, "it gave no sign of life for too long")
        held = {actor: cpus for actor, cpus in self._actors.held_cpus().items() if cpus}
        too_many = actors_too_many(list(held.values()), self._capacity)
        for actor in sorted(held, key=lambda actor: (actor in busy, actor))[:too_many]:
            self._actors.remove(actor)
            if actor in busy:
                yield busy[actor], ActorLostError(Loss.REMOVED, "the cluster has no more room for it")
            else:
                self.queue.lost(actor, Loss.REMOVED)

    def finished(self, assignment: Assignment) -> None:
        """Record that a shard is committed; its actor continues with the next."""
        self._works.pop(assignment.number, None)
        self.queue.finished(assignment)

    def lost(self, assignment: Assignment, error: ActorLostError, *, committed: bool) -> None:
        """Remove a lost actor and requeue its shard. Raises InfrastructureError after too many losses."""
        self._drop(assignment.actor)
        self._actors.remove(assignment.actor)
        self.queue.lost(assignment.actor, error.loss, committed=committed, detail=str(error))

    def _take_withdrawn(self, assignment: Assignment) -> None:
        if self.queue.withdrawn(assignment):
            self._works.pop(assignment.number, None)

    def _drop(self, actor: int) -> None:
        self._monitor.forget(actor)
        for number, work in list(self._works.items()):
            if work.assignment.actor == actor:
                del self._works[number]

    def _take_in(self) -> None:
        ready, gone = self._actors.ready()
        for actor in ready:
            self.queue.join(actor)
        for detail in gone:
            self._deaths += 1
            if self._deaths >= _DEATHS_WITHOUT_NEWS:
                raise InfrastructureError(
                    f"{self._deaths} tokenizer actors in a row died while starting; the last error: {detail} "
                    "Committed shards stay; fix the cause and run the same command again to resume."
                )

    def _fit(self) -> None:
        held = self._actors.held_cpus()
        wanted = actors_wanted(self._compute, self._device, self._capacity, self.queue.unfinished)
        waiting = [actor for actor in held if actor not in self.queue.actors]
        for actor in waiting[: max(0, len(held) - wanted)]:
            self._actors.remove(actor)
        for _ in range(wanted - self.num_actors):
            self._actors.start(actor_cpus(self._device, self._capacity))

    def _give_out(self) -> None:
        held = list(self._actors.held_cpus().values())
        size = decode_window_size(self._compute, held, self._capacity, clip_bytes=self._clip_bytes)
        given = self.queue.assign()
        at_work = {assignment.number for assignment in self.queue.at_work}
        for assignment in given:
            ahead = assignment.number not in at_work
            if not ahead:
                self._monitor.alive(assignment.actor)
            self._works[assignment.number] = self._actors.begin(assignment, size, ahead=ahead)
        for assignment in self.queue.to_withdraw():
            self._actors.withdraw(assignment)

    def _check_heartbeats(self) -> None:
        heartbeats, dead = self._actors.heartbeats()
        self._dead |= dead
        for actor, signs in heartbeats.items():
            self._monitor.heartbeat(actor, signs)
        for actor in self._monitor.to_ask(assignment.actor for assignment in self.queue.at_work):
            self._actors.ask_heartbeat(actor)

    def _may_get_gpus(self) -> bool:
        return self._cluster.may_grow and self._compute.actors is not None


def run_name(output: str, run_id: str) -> str:
    """Returns the name prefix of a run's actors and tasks, unique per dataset and run."""
    return f"bitmill-{content_id('output', output)[:8]}-{run_id}"
