"""A Ray session: a local one of our own, or the cluster at an address."""

import importlib
import os
import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import AuthenticationError, RayError
from ray.job_config import JobConfig

from bitmill.jobs.cluster.connection.authentication import hushed, tells_of_token, token_error
from bitmill.jobs.cluster.connection.local_ray import place_for_ray
from bitmill.jobs.cluster.connection.raylet import raylet_watched
from bitmill.jobs.cluster.huge_page_workers import worker_variables
from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerActor, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_handles import TokenizerActors, first_line
from bitmill.jobs.scheduling.autoscaling import Capacity
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.schemas.errors import InfrastructureError, UsageError

_OBJECT_STORE_BYTES = 1 << 30
"""Enough for the window of clips in flight; a local session need not claim a third of the memory."""

_CONNECT_S = 10.0


class Cluster:
    """A context manager over a Ray session, with this job's tokenizer actors in it.

    Without an address a local Ray is started and ended with the block. Its CPUs are offered twice, since
    actors and decoders take turns on them: the kernel shares them out better than a fixed split.
    ``actor_class``: what works on the shards.
    Raises InfrastructureError where Ray does not start, the address does not answer, or, in the block, the
    local Ray's process ends.
    """

    def __init__(self, address: str | None, *, actor_class: type[TokenizerActor] = TokenizerActor) -> None:
        self._address = address
        self._actor_class = actor_class
        self._actors: TokenizerActors | None = None
        self._capacity: Capacity | None = None
        self._place = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._place = stack.enter_context(ExitStack())
            self._begin()
            stack.pop_all()
        return self

    def _begin(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self._address is not None:
            _require_listener(self._address)
        shared: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "critical",
            "job_config": _InstalledCode(),
        }
        variables = worker_variables()
        try:
            if self._address is None:
                # Ray's processes inherit it, those too that it starts before they are asked for.
                os.environ.update(variables)
                ray.init(
                    address="local",
                    num_cpus=2 * available_cpus(),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **self._place.enter_context(place_for_ray()),
                    **shared,
                )
            else:
                _join(self._address, {"runtime_env": {"env_vars": variables} if variables else None} | shared)
        except AuthenticationError as error:
            raise token_error(self._address or "this machine") from error
        except (OSError, RayError, RuntimeError, ValueError) as error:
            where = self._address or "this machine"
            raise InfrastructureError(f"No Ray session on {where}: {first_line(error)}") from error
        self._place.callback(ray.shutdown)
        _silence_worker_deaths()
        if self._address is None:
            self._place.enter_context(raylet_watched())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._actors is not None:
            self._actors.end()
        self._place.__exit__(kind, error, trace)

    def count(self, resource_name: str) -> int:
        """Whole units of a resource (CPU, GPU, a byte of object_store_memory) in the cluster now."""
        return int(ray.cluster_resources().get(resource_name, 0))

    @property
    def may_grow(self) -> bool:
        """Whether nodes may join: not a local Ray."""
        return self._address is not None

    def capacity(self) -> Capacity:
        """What the living nodes hold now; as last known, while the head does not answer."""
        try:
            self._capacity = Capacity(
                cpus=self.count("CPU"),
                gpus=self.count("GPU"),
                object_store_bytes=self.count("object_store_memory") or None,
            )
        except (RayError, ConnectionError, RuntimeError) as error:
            if self._capacity is None:
                raise InfrastructureError(f"The cluster does not answer: {first_line(error)}") from error
        return self._capacity

    def start_actors(
        self, files: TokenizerFiles, settings: ActorSettings, num_gpus: float
    ) -> TokenizerActors:
        """This run's tokenizer actors, none so far; they end with the session."""
        self._actors = TokenizerActors(files, settings, num_gpus, self._actor_class)
        return self._actors


class _InstalledCode(JobConfig):
    """Keeps the driver's current folder and its script's off the workers' ``sys.path``.

    Ray puts both before all else there, and a user's ``queue.py`` would be imported in a library's place.
    Ray has no option for this; where its internals have changed, a test tells.
    """

    def _serialize(self) -> str:
        self._py_driver_sys_path.clear()
        return super()._serialize()


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
        raise UsageError(
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
