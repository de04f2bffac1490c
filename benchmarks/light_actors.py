"""Actors that only pause and report, many in a process: they stand for more than the machine has room for."""

from typing import Any

import ray

from benchmarks.light_host import Host
from bitmill.jobs.cluster.tokenizing.actor import ActorSettings, TokenizerActor, TokenizerFiles
from bitmill.jobs.cluster.tokenizing.actor_handles import TokenizerActors


class LightActors(TokenizerActors):
    """TokenizerActors whose processes are few hosts."""

    def __init__(
        self,
        files: TokenizerFiles,
        settings: ActorSettings,
        num_gpus: float,
        *,
        pause_s: float,
        events: int,
        processes: int,
    ) -> None:
        super().__init__(files, settings, num_gpus, TokenizerActor)
        # The class of the real one would be imported with it.
        self._files = None
        remote: Any = ray.remote(Host)
        options = remote.options(num_cpus=0, max_concurrency=10_000)
        self._hosts = [options.remote(pause_s, events) for _ in range(processes)]
        ray.get([host.ready.remote() for host in self._hosts])

    def launch(self, number: int, num_cpus: int) -> Any:  # noqa: ARG002
        """See TokenizerActors."""
        return self._hosts[number % len(self._hosts)]

    def remove(self, number: int) -> None:
        """Forget an actor; its host serves others, too."""
        self._actors.pop(number, None)
