"""Worker pools that make samples: processes, or, for tests and debugging, this process itself."""

from collections.abc import Sequence
from concurrent.futures import Future

from bitmill.pipeline.training.data.decode_worker import DecodingWorker, Made
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, SampleTask


class ProcessPool:
    """Worker processes, each with its own queue and cache, so that one worker decodes a source."""

    def __init__(self, settings: ClipSettings, num_workers: int) -> None:
        self.num_workers = num_workers
        self._workers = [DecodingWorker(settings) for _ in range(num_workers)]

    def submit(self, worker: int, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":
        """Return a future of the tasks' results from worker number ``worker``, counted from 0."""
        return self._workers[worker].submit(tasks, deadline_s=deadline_s)

    def close(self) -> None:
        """Stop all work; returns when the processes have ended."""
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.join()


class OwnProcess:
    """Decodes in this process: hangs are not stopped, and a crash ends the trainer."""

    num_workers = 1

    def __init__(self, settings: ClipSettings) -> None:
        self._maker = ClipMaker(settings)

    def submit(self, worker: int, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":  # noqa: ARG002
        """See ProcessPool; the work is done on return."""
        future: Future[Made] = Future()
        future.set_result([self._maker.make(task) for task in tasks])
        return future

    def close(self) -> None:
        """See ProcessPool; does nothing."""


WorkerPool = ProcessPool | OwnProcess
