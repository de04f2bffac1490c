"""A Ray session: a local one of our own, or the cluster at an address; and the shards at work in it."""

import importlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    AuthenticationError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from jobs.cluster.actor import ActorSettings, TokenizerActor, TokenizerFiles
from jobs.cluster.authentication import hushed, tells_of_token, token_error
from schemas.errors import BadJobError, BitmillError, InfrastructureError
from schemas.plan import PlannedShard

_OBJECT_STORE_BYTES = 1 << 30
"""Enough for the window of clips in flight; a local session need not claim a third of the memory."""

_MAX_RESTARTS = 20

_REFUSALS = 10
"""An actor that says so often, half a second apart, that it is dead, will not come back."""

_CONNECT_S = 10.0


class Work:
    """One shard at work on one actor."""

    def __init__(self, shard: PlannedShard, actor: int, generator: Any) -> None:
        self.shard = shard
        self.actor = actor
        self.generator = generator


class ActorLostError(Exception):
    """The actor of a shard died or could not be reached; whether it had committed is not known."""


class Cluster:
    """A context manager over a Ray session, with this job's tokenizer actors in it.

    Without an address a local Ray is started and ended with the block. Its CPUs are offered twice, since
    actors and decoders take turns on them: the kernel shares them out better than a fixed split.
    Raises InfrastructureError where Ray does not start or the address does not answer.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._actors: list[Any] = []
        self._files: Any = None
        self._pings: dict[int, Any] = {}
        self._refusals: dict[int, int] = {}

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self._address is not None:
            _require_listener(self._address)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "critical"}
        try:
            if self._address is None:
                ray.init(
                    address="local",
                    num_cpus=2 * available_cpus(),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **quiet,
                )
            else:
                _join(self._address, quiet)
        except AuthenticationError as error:
            raise token_error(self._address or "this machine") from error
        except (ConnectionError, RayError, RuntimeError, ValueError) as error:
            where = self._address or "this machine"
            raise InfrastructureError(f"No Ray session on {where}: {_first_line(error)}") from error
        _silence_worker_deaths()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            with suppress(RayError):
                ray.kill(actor)
        ray.shutdown()

    def count(self, resource_name: str) -> int:
        """Whole units of a resource (CPU, GPU) in the cluster now."""
        return int(ray.cluster_resources().get(resource_name, 0))

    def start_actors(self, count: int, files: TokenizerFiles, settings: ActorSettings, num_cpus: int) -> None:
        """Start ``count`` tokenizer actors; the weights travel once to each node, by the object store."""
        self._files = ray.put(files)
        actor_class: Any = ray.remote(TokenizerActor)
        options = actor_class.options(
            num_cpus=num_cpus,
            num_gpus=1 if settings.device == "cuda" else 0,
            max_restarts=_MAX_RESTARTS,
            max_task_retries=0,
        )
        self._actors.extend(options.remote(settings) for _ in range(count))
        for actor in range(count):
            self.await_actor(actor)

    def await_actor(self, actor: int) -> None:
        """Ask an actor that starts, or was lost, to say when it is ready."""
        self._pings[actor] = self._actors[actor].ready.remote()

    def ready_actors(self) -> list[int]:
        """Actors that have answered since the last call; each is ready for one shard.

        Raises InfrastructureError where every actor is gone for good.
        """
        answered: list[int] = []
        for actor, ping in list(self._pings.items()):
            if not ray.wait([ping], timeout=0)[0]:
                continue
            del self._pings[actor]
            try:
                ray.get(ping)
            except (RuntimeEnvSetupError, ActorUnschedulableError) as error:
                raise InfrastructureError(f"No tokenizer actor can start: {_first_line(error)}") from error
            except RayError as error:
                self._note_lost(actor, error)
            else:
                self._refusals[actor] = 0
                answered.append(actor)
        return answered

    def begin(self, shard: PlannedShard, actor: int) -> Work:
        """Give a shard to an actor."""
        method = self._actors[actor].tokenize.options(num_returns="streaming")
        return Work(shard, actor, method.remote(shard, self._files))

    def events(self, works: list[Work], timeout_s: float) -> Iterator[tuple[Work, Any]]:
        """What the given shards report within ``timeout_s``: (work, event), or (work, ActorLostError).

        Raises what an actor raised, unwrapped.
        """
        if not works:
            time.sleep(timeout_s)
            return
        by_generator: dict[Any, Work] = {work.generator: work for work in works}
        handles = list(by_generator)
        # First until one has news, then whatever else has.
        ray.wait(handles, num_returns=1, timeout=timeout_s, fetch_local=False)
        ready: list[Any] = ray.wait(handles, num_returns=len(handles), timeout=0, fetch_local=False)[0]
        for generator in ready:
            yield by_generator[generator], _next_event(generator)

    def _note_lost(self, actor: int, error: RayError) -> None:
        """A restarting actor refuses calls at once; one that goes on refusing is gone."""
        self._refusals[actor] = self._refusals.get(actor, 0) + isinstance(error, ActorDiedError)
        if self._refusals[actor] < _REFUSALS:
            self.await_actor(actor)
        elif not self._pings and all(self._refusals.get(n, 0) >= _REFUSALS for n in range(len(self._actors))):
            raise InfrastructureError(
                f"Every tokenizer actor died and does not come back ({_first_line(error)}). "
                "See the cluster's logs; run the same command again to resume."
            ) from error


def _next_event(generator: Any) -> Any:
    try:
        return ray.get(next(generator))
    except StopIteration:
        return ActorLostError("the actor stopped without a report")
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, RayError):
            return ActorLostError(_first_line(cause))
        if isinstance(cause, BitmillError):
            raise cause from None
        raise cause from error
    except RayError as error:
        return ActorLostError(_first_line(error))


def _join(address: str, options: dict[str, Any]) -> None:
    """Ray tells of a refused token only on file descriptor 2, between two dozen other lines."""
    with hushed() as written:
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            if tells_of_token(written()):
                raise token_error(address) from error
            raise


def _require_listener(address: str) -> None:
    """Ray tries for minutes to reach an address where nothing listens; one connection tells it at once."""
    if address.startswith("ray://"):
        raise BadJobError(
            f"{address} is a Ray Client address, which cannot stream results; run the command on a node of "
            "the cluster and give its own address (host:6379, or auto)."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise InfrastructureError(
            f"No Ray session on {address}: {error.strerror or error}. Is the cluster up, and the port right?"
        ) from error


def _silence_worker_deaths() -> None:
    """Keep Ray from printing a paragraph on the driver's terminal for each decoder that dies.

    The ledger tells it in a word, and the cluster's logs keep the rest. Ray has no option for this; where
    its internals have changed, the paragraphs are back and nothing else happens.
    """
    worker = importlib.import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_args, **_options: None  # type: ignore[attr-defined]


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def _first_line(error: BaseException) -> str:
    if isinstance(error, BitmillError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
