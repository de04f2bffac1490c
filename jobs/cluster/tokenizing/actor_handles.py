"""Handles of a run's tokenizer actors: start them, send shards, receive events and heartbeats, end them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerActor, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_death import cause_of, left_with_its_node, loss_of
from bitmill.jobs.cluster.tokenizing.decode_tasks import GET_S
from bitmill.jobs.scheduling.actor_events import ActorLostError, Assignment, Withdrawn
from bitmill.jobs.scheduling.autoscaling import DecodeWindowSize
from bitmill.pipeline.shard.progress import ShardProgress
from bitmill.schemas.errors import BitmillError, InfrastructureError

_REST_S = 0.02
_REST_PER_STREAM_S = 250e-6
"""Least pause between two looks at all streams. A look takes time in proportion to their number: without a
pause of the same proportion, many actors' events would cost the driver a look each. No actor waits for it: it
has its next shard already."""


_MOST_EVENTS = 8
"""Of one stream, taken at a look."""


@dataclass(frozen=True)
class Work:
    """A running assignment and the stream of its events."""

    assignment: Assignment
    generator: Any


@dataclass
class _Actor:
    """One actor and its pending replies."""

    handle: Any
    num_cpus: int
    ready: Any
    heartbeat: Any = None


class TokenizerActors:
    """Actors by number; numbers are never reused. A lost actor is replaced, not restarted.

    Actor names include the run's, so that several jobs can share a cluster; actors end with the Ray session.
    """

    def __init__(
        self,
        files: TokenizerFiles,
        settings: ActorSettings,
        num_gpus: float,
        actor_class: type[TokenizerActor],
    ) -> None:
        as_actor: Any = ray.remote
        self._actor_class: Any = as_actor(concurrency_groups={"control": 1})(actor_class)
        # The object store sends the weights to each node once.
        self._files = ray.put(files)
        self._settings = settings
        self._num_gpus = num_gpus
        self._actors: dict[int, _Actor] = {}
        self._started = 0
        self._withdrawals: dict[Any, Assignment] = {}
        self._rests_until = 0.0

    def start(self, num_cpus: int) -> int:
        """Start one more actor and return its number; in a full cluster it waits for a node with room."""
        number, self._started = self._started, self._started + 1
        handle = self.launch(number, num_cpus)
        self._actors[number] = _Actor(handle=handle, num_cpus=num_cpus, ready=handle.ready.remote())
        return number

    def launch(self, number: int, num_cpus: int) -> Any:
        """Returns the handle of a new process; benchmarks override this with lighter ones."""
        options = self._actor_class.options(
            name=f"{self._settings.name} tokenizer {number}",
            num_cpus=num_cpus,
            num_gpus=self._num_gpus,
            # The driver replaces actors; Ray reports a cause of death only for actors without restarts.
            max_restarts=0,
            max_task_retries=0,
        )
        return options.remote(self._settings)

    def held_cpus(self) -> dict[int, int]:
        """Returns the CPUs that each actor holds or waits for."""
        return {number: actor.num_cpus for number, actor in self._actors.items()}

    def ready(self) -> tuple[list[int], list[str]]:
        """Returns the actors that became ready since the last call, and why others died at start.

        Those whose node left meanwhile are not counted among the dead: however many nodes come and go, the
        job goes on with the next one.

        Raises InfrastructureError if no actor can start.
        """
        answered: list[int] = []
        gone: list[str] = []
        starting = {actor.ready: number for number, actor in self._actors.items() if actor.ready is not None}
        for answer in _those_there(list(starting)):
            number = starting[answer]
            self._actors[number].ready = None
            try:
                ray.get(answer, timeout=GET_S)
            except (RuntimeEnvSetupError, ActorUnschedulableError) as error:
                raise InfrastructureError(f"No tokenizer actor can start: {first_line(error)}") from error
            except RayError as error:
                self.remove(number)
                if not left_with_its_node(error):
                    gone.append(cause_of(error))
            else:
                answered.append(number)
        return answered, gone

    def begin(self, assignment: Assignment, window: DecodeWindowSize, *, ahead: bool) -> Work:
        """Send a shard to an actor; ``ahead`` queues it behind the running one."""
        handle = self._actors[assignment.actor].handle
        options: dict[str, Any] = {"num_returns": "streaming"}
        if assignment.isolation is not None:
            # The actor continues only once its event was received, so that the driver knows what killed it.
            options["_generator_backpressure_num_objects"] = 1
        generator = handle.tokenize.options(**options).remote(assignment, self._files, window)
        if ahead:
            handle.expect.remote(assignment)
        return Work(assignment, generator)

    def withdraw(self, assignment: Assignment) -> None:
        """Withdraw a queued shard; ``withdrawn`` returns the reply."""
        answer = self._actors[assignment.actor].handle.withdraw.remote(assignment.number)
        self._withdrawals[answer] = assignment

    def withdrawn(self) -> list[tuple[Assignment, bool]]:
        """Returns replies since the last call: True if the shard had not started and was withdrawn."""
        answers: list[tuple[Assignment, bool]] = []
        for reference in _those_there(list(self._withdrawals)):
            assignment = self._withdrawals.pop(reference)
            try:
                answers.append((assignment, ray.get(reference, timeout=GET_S)))
            except RayError:
                answers.append((assignment, False))
        return answers

    def ask_heartbeat(self, number: int) -> None:
        """Request an actor's heartbeat; ``heartbeats`` returns the reply."""
        actor = self._actors.get(number)
        if actor is not None and actor.heartbeat is None:
            actor.heartbeat = actor.handle.heartbeat.remote()

    def heartbeats(self) -> tuple[dict[int, int], dict[int, ActorLostError]]:
        """Returns heartbeat counts received since the last call, and the errors of dead actors.

        A shard's stream also reports its actor's death, but may report a lost node late.
        """
        signs: dict[int, int] = {}
        dead: dict[int, ActorLostError] = {}
        asked = {
            actor.heartbeat: number for number, actor in self._actors.items() if actor.heartbeat is not None
        }
        for answer in _those_there(list(asked)):
            number = asked[answer]
            self._actors[number].heartbeat = None
            try:
                signs[number] = ray.get(answer, timeout=GET_S)
            except ActorDiedError as error:
                dead[number] = ActorLostError(loss_of(error), first_line(error))
            except RayError:
                # Unreachable for now: it is polled again.
                continue
        return signs, dead

    def remove(self, number: int) -> None:
        """Kill an actor, busy or not."""
        actor = self._actors.pop(number, None)
        if actor is not None:
            with suppress(RayError):
                ray.kill(actor.handle)

    def end(self) -> None:
        """Kill all actors."""
        for number in list(self._actors):
            self.remove(number)

    def _wait_for_actors(self, timeout_s: float) -> None:
        """Wait until one that starts has answered."""
        starting = [actor.ready for actor in self._actors.values() if actor.ready is not None]
        if starting:
            ray.wait(starting, num_returns=1, timeout=timeout_s, fetch_local=False)
        else:
            time.sleep(timeout_s)

    def events(self, works: Sequence[Work], timeout_s: float) -> Iterator[tuple[Work, Any]]:
        """Yields events of the given shards within ``timeout_s``, and an ActorLostError per lost actor.

        Raises an actor's own error, unwrapped.
        """
        if not works:
            self._wait_for_actors(timeout_s)
            return
        by_generator: dict[Any, Work] = {work.generator: work for work in works}
        handles = list(by_generator)
        time.sleep(max(0.0, self._rests_until - time.monotonic()))
        # First wait until one has an event, then take all that are ready.
        ray.wait(handles, num_returns=1, timeout=timeout_s, fetch_local=False)
        self._rests_until = time.monotonic() + max(_REST_S, _REST_PER_STREAM_S * len(works))
        for _ in range(_MOST_EVENTS):
            handles, told = [], _those_there(handles)
            for generator in told:
                event = _next_event(generator)
                if isinstance(event, ShardProgress):
                    handles.append(generator)
                yield by_generator[generator], event


def _those_there(references: list[Any]) -> list[Any]:
    if not references:
        return []
    return ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[0]


def _next_event(generator: Any) -> Any:
    try:
        return ray.get(next(generator), timeout=GET_S)
    except StopIteration:
        return Withdrawn()
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, RayError):
            return ActorLostError(loss_of(cause), first_line(cause))
        if isinstance(cause, BitmillError):
            raise cause from None
        raise cause from error
    except RayError as error:
        return ActorLostError(loss_of(error), first_line(error))


def first_line(error: BaseException) -> str:
    """Returns the first non-empty line of an error; Ray's messages are paragraphs."""
    if isinstance(error, BitmillError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
