"""Who makes the samples: worker processes, or, for tests and for finding faults, this process itself."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from bitmill.pipeline.training.data.decode_worker import DecodingWorker, Made
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, SampleTask


class WorkerPool(Protocol):
    """Takes tasks, gives clips."""

    num_workers: int

    def submit(self, worker: int, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":
        """What becomes of the tasks, by one of the workers, which count from 0."""
        ...

    def close(self) -> None:
        """End all work."""
        ...


class ProcessPool:
    """Worker processes. Each has a queue and a cache of its own, so that a source is decoded in one place."""

    def __init__(self, settings: ClipSettings, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers = [DecodingWorker(settings) for _ in range(num_workers)]

    def submit(self, worker: int, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":
        """See WorkerPool."""
        return self._workers[worker].submit(tasks, deadline_s=deadline_s)

    def close(self) -> None:
        """See WorkerPool; returns once the processes are gone."""
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.join()


class OwnProcess:
    """No process but this one: nothing is ended that hangs, and a crash is the trainer's."""

    num_workers = 1

    def __init__(self, settings: ClipSettings) -> None:
        self._maker = ClipMaker(settings)

    def submit(self, worker: int, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":  # noqa: ARG002
        """See WorkerPool; the work is done on return."""
        future: Future[Made] = Future()
        future.set_result([self._maker.make(task) for task in tasks])
        return future

    def close(self) -> None:
        """See WorkerPool; there is nothing to end."""
