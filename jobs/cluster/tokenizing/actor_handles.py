"""The tokenizer actors of one run: started, asked, given shards, listened to, ended."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerActor, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_death import cause_of
from bitmill.jobs.cluster.tokenizing.decode_tasks import GET_S
from bitmill.jobs.scheduling.assignment import ActorLostError, Assignment, Loss, Withdrawn
from bitmill.jobs.scheduling.autoscaling import DecodeWindowSize
from bitmill.schemas.errors import BitmillError, InfrastructureError

_PROCESS_DIED = "Worker exit type: SYSTEM_ERROR"
"""What Ray says of an actor whose process died while its node lives."""

_TOLD_TO_END = "receives a SIGTERM"
"""What it adds where the process was told to end, as on a node that is taken away."""


@dataclass(frozen=True)
class Work:
    """An assignment under way, and the stream of its events."""

    assignment: Assignment
    generator: Any


@dataclass
class _Actor:
    """One actor, and the answers that it owes."""

    handle: Any
    num_cpus: int
    ready: Any
    heartbeat: Any = None


class TokenizerActors:
    """Actors by number; a number is never used twice. One that is lost stays so; another takes its place.

    Names hold the run's, so that several jobs share a cluster; nothing outlives the run's Ray session.
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
        # The weights travel once to each node, by the object store.
        self._files = ray.put(files)
        self._settings = settings
        self._num_gpus = num_gpus
        self._actors: dict[int, _Actor] = {}
        self._started = 0
        self._withdrawals: dict[Any, Assignment] = {}

    def start(self, num_cpus: int) -> int:
        """Start one more actor and give its number; without room it waits for a node that has some."""
        number, self._started = self._started, self._started + 1
        options = self._actor_class.options(
            name=f"{self._settings.name} tokenizer {number}",
            num_cpus=num_cpus,
            num_gpus=self._num_gpus,
            # The driver replaces actors: for one that is never restarted, Ray tells how it died.
            max_restarts=0,
            max_task_retries=0,
        )
        handle = options.remote(self._settings)
        self._actors[number] = _Actor(handle=handle, num_cpus=num_cpus, ready=handle.ready.remote())
        return number

    def held_cpus(self) -> dict[int, int]:
        """CPUs that each actor holds, or waits for."""
        return {number: actor.num_cpus for number, actor in self._actors.items()}

    def ready(self) -> tuple[list[int], list[str]]:
        """Actors that have become ready since the last call; and why others died in starting.

        Raises InfrastructureError where none can start at all.
        """
        answered: list[int] = []
        gone: list[str] = []
        for number, actor in list(self._actors.items()):
            if actor.ready is None or not _is_there(actor.ready):
                continue
            answer, actor.ready = actor.ready, None
            try:
                ray.get(answer, timeout=GET_S)
            except (RuntimeEnvSetupError, ActorUnschedulableError) as error:
                raise InfrastructureError(f"No tokenizer actor can start: {first_line(error)}") from error
            except RayError as error:
                self.remove(number)
                gone.append(cause_of(error))
            else:
                answered.append(number)
        return answered, gone

    def begin(self, assignment: Assignment, window: DecodeWindowSize, *, ahead: bool) -> Work:
        """Give a shard to an actor; ``ahead``: behind one that is at work there."""
        handle = self._actors[assignment.actor].handle
        options: dict[str, Any] = {"num_returns": "streaming"}
        if assignment.isolation is not None:
            # The actor goes on only when its news has been heard: so the driver knows what killed it.
            options["_generator_backpressure_num_objects"] = 1
        generator = handle.tokenize.options(**options).remote(assignment, self._files, window)
        if ahead:
            handle.expect.remote(assignment)
        return Work(assignment, generator)

    def withdraw(self, assignment: Assignment) -> None:
        """Ask a shard back that was given ahead; ``withdrawn`` tells the answer."""
        answer = self._actors[assignment.actor].handle.withdraw.remote(assignment.number)
        self._withdrawals[answer] = assignment

    def withdrawn(self) -> list[tuple[Assignment, bool]]:
        """Answers since the last call: whether the shard had not begun and is the driver's again."""
        answers: list[tuple[Assignment, bool]] = []
        for reference in _those_there(list(self._withdrawals)):
            assignment = self._withdrawals.pop(reference)
            try:
                answers.append((assignment, ray.get(reference, timeout=GET_S)))
            except RayError:
                answers.append((assignment, False))
        return answers

    def ask_heartbeat(self, number: int) -> None:
        """Ask an actor for a sign of life; ``heartbeats`` tells the answer."""
        actor = self._actors.get(number)
        if actor is not None and actor.heartbeat is None:
            actor.heartbeat = actor.handle.heartbeat.remote()

    def heartbeats(self) -> tuple[dict[int, int], dict[int, ActorLostError]]:
        """Answers since the last call: how many signs of life an actor has given; and those who died.

        A shard's stream tells of its actor's death, too, but of a lost node not always soon.
        """
        signs: dict[int, int] = {}
        dead: dict[int, ActorLostError] = {}
        for number, actor in self._actors.items():
            if actor.heartbeat is not None and _is_there(actor.heartbeat):
                answer, actor.heartbeat = actor.heartbeat, None
                try:
                    signs[number] = ray.get(answer, timeout=GET_S)
                except ActorDiedError as error:
                    dead[number] = ActorLostError(_loss(error), first_line(error))
                except RayError:
                    # Out of reach for now: it is asked again.
                    continue
        return signs, dead

    def remove(self, number: int) -> None:
        """End an actor, whatever it does."""
        actor = self._actors.pop(number, None)
        if actor is not None:
            with suppress(RayError):
                ray.kill(actor.handle)

    def end(self) -> None:
        """End all of them."""
        for number in list(self._actors):
            self.remove(number)

    def events(self, works: Sequence[Work], timeout_s: float) -> Iterator[tuple[Work, Any]]:
        """What the given shards report within ``timeout_s``; of one whose actor is lost, an ActorLostError.

        Raises what an actor raised, unwrapped.
        """
        if not works:
            time.sleep(timeout_s)
            return
        by_generator: dict[Any, Work] = {work.generator: work for work in works}
        handles = list(by_generator)
        # First until one has news, then whatever else has.
        ray.wait(handles, num_returns=1, timeout=timeout_s, fetch_local=False)
        for generator in _those_there(handles):
            yield by_generator[generator], _next_event(generator)


def _is_there(reference: Any) -> bool:
    return bool(_those_there([reference]))


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
            return ActorLostError(_loss(cause), first_line(cause))
        if isinstance(cause, BitmillError):
            raise cause from None
        raise cause from error
    except RayError as error:
        return ActorLostError(_loss(error), first_line(error))


def _loss(error: RayError) -> Loss:
    """How an actor was lost: by its process's own death only where Ray says so, else with its node."""
    if isinstance(error, OutOfMemoryError):
        return Loss.OUT_OF_MEMORY
    text = str(error) if isinstance(error, ActorDiedError) else ""
    return Loss.DIED if _PROCESS_DIED in text and _TOLD_TO_END not in text else Loss.NODE_LOST


def first_line(error: BaseException) -> str:
    """The first line of an error that says something; Ray's go on for a paragraph."""
    if isinstance(error, BitmillError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
