"""A Ray session: a local one started here, or a cluster at an address."""

import atexit
import importlib
import os
import socket
import sys
from concurrent.futures import Future, wait
from contextlib import ExitStack
from threading import Thread
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import AuthenticationError, RayError
from ray.job_config import JobConfig

from bitmill.jobs.cluster.connection.authentication import hushed, tells_of_token, token_error
from bitmill.jobs.cluster.connection.local_ray import no_unused_processes, place_for_ray
from bitmill.jobs.cluster.connection.raylet import raylet_watched
from bitmill.jobs.cluster.huge_page_workers import worker_variables
from bitmill.jobs.cluster.plugin_check import require_plugin
from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerActor, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_handles import TokenizerActors, first_line
from bitmill.jobs.scheduling.autoscaling import Capacity
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.schemas.errors import InfrastructureError, InterruptedJobError, UsageError
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.requests.job import Device

_OBJECT_STORE_BYTES = 1 << 30
"""Object store of a local session: enough for clips in flight, less than Ray's third of memory."""

_CONNECT_S = 10.0

_LOOK_EVERY_S = 0.2
"""How often a driver that joins a cluster looks for signals."""


class Cluster:
    """Context manager of a Ray session with this job's tokenizer actors.

    Without an address, starts a local Ray and stops it on exit. It advertises each CPU twice, since actors
    and decoders alternate: the kernel's scheduler shares CPUs better than a fixed split. ``actor_class`` is
    the actor that runs shards. Raises InfrastructureError if Ray does not start, the address does not answer,
    or the local Ray's process dies within the block.
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
                # Inherited by Ray's processes, including workers that it starts in advance.
                os.environ.update(variables)
                with no_unused_processes():
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
        except SystemExit as ended:
            # Ray's own handler of SIGTERM, while a local Ray starts.
            raise KeyboardInterrupt from ended
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
        """Returns the cluster's whole units of a resource (CPU, GPU, bytes of object_store_memory) now."""
        return int(ray.cluster_resources().get(resource_name, 0))

    @property
    def may_grow(self) -> bool:
        """Whether nodes may join; False for a local Ray."""
        return self._address is not None

    def capacity(self) -> Capacity:
        """Returns the live nodes' resources; the last known ones while the head node does not answer."""
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

    def require_plugin(self, config: PluginConfig, device: Device) -> None:
        """Raise MissingPluginError unless all nodes that may run actors have the plugin installed.

        Workers of a local Ray run this process's Python, and nodes may join later: actors load the plugin
        themselves, with the same error.
        """
        if self._address is not None:
            require_plugin(config.plugin, config.package, resource="GPU" if device == "cuda" else "CPU")

    def start_actors(
        self, files: TokenizerFiles, settings: ActorSettings, num_gpus: float
    ) -> TokenizerActors:
        """Returns the run's tokenizer actors, none started yet; they end with the session."""
        self._actors = TokenizerActors(files, settings, num_gpus, self._actor_class)
        return self._actors


class _InstalledCode(JobConfig):
    """Keeps the driver's working and script folders off the workers' ``sys.path``.

    Ray prepends both, so that a user's ``queue.py`` would shadow a library. Ray has no option for this; if
    its internals change, a test fails.
    """

    def _serialize(self) -> str:
        self._py_driver_sys_path.clear()
        return super()._serialize()


def _join(address: str, options: dict[str, Any]) -> None:
    """Join a cluster. Ray reports a rejected token only on file descriptor 2, among two dozen other lines.

    Ray joins in a thread of its own: for minutes of waiting for a silent cluster its code runs no handlers
    of signals, and on the main thread it would replace that of SIGTERM.
    """
    joined: Future[None] = Future()

    def join() -> None:
        try:
            ray.init(address=address, **options)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            joined.set_exception(error)
        else:
            joined.set_result(None)

    with hushed() as written:
        Thread(target=join, name="bitmill-join", daemon=True).start()
        try:
            # A signal that the kernel gives to another thread ends no wait of this one.
            while not wait([joined], timeout=_LOOK_EVERY_S).done:
                pass
            joined.result()
        except ConnectionError as error:
            if tells_of_token(written()):
                raise token_error(address) from error
            raise
        finally:
            if not joined.done():
                atexit.register(_exit_without_waiting, joined)


def _exit_without_waiting(joined: "Future[None]") -> None:
    """End an interrupted process that is still joining a cluster; Ray's own exit would wait for that."""
    if not joined.done():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(InterruptedJobError.exit_code)


def _require_listener(address: str) -> None:
    """Fail at once if nothing listens at the address; Ray itself would retry for minutes."""
    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is a Ray Client address, which cannot stream results; run the command on a node of "
            "the cluster and give the cluster's address (host:6379, or auto)."
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
    except ValueError as error:
        raise UsageError(f"{address} is not the address of a cluster; give HOST:PORT, or auto.") from error


def _silence_worker_deaths() -> None:
    """Keep Ray from printing a paragraph on the driver's terminal per dead decoder.

    The ledger has the reason, and the cluster's logs the details. Ray has no option for this; if its
    internals change, the paragraphs reappear and nothing else happens.
    """
    worker = importlib.import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_args, **_options: None  # type: ignore[attr-defined]
