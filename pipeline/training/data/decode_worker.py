"""A child process that decodes samples; if it crashes or hangs, a new one replaces it."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from bitmill.pipeline.decode.pixels.lanczos import make_ready
from bitmill.pipeline.isolation.child_process import ChildDiedError, ChildProcess, serve
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, FailedTask, SampleTask
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.outcomes import Reason

Made = list[Frames | FailedTask]

_START_S = 300.0
_STARTS = 3


class DecoderLostError(Exception):
    """The process died, or hung and was killed, before its tasks were done."""

    def __init__(self, reason: Reason, detail: str, exit_code: int = 0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.exit_code = exit_code
        """Of the process; negative if a signal ended it."""


@dataclass(frozen=True)
class _Order:
    tasks: Sequence[SampleTask]
    deadline_s: float
    future: "Future[Made]"


class DecodingWorker:
    """One child process and the thread that serves it; runs orders one after another."""

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._is_closed = False
        self._child: ChildProcess | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True, name="decoding worker")
        self._thread.start()

    def submit(self, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":
        """Return a future of the tasks' results; it raises DecoderLostError on a death or timeout."""
        if self._is_closed:
            raise ValueError("this worker is closed")
        future: Future[Made] = Future()
        self._orders.put(_Order(tasks, deadline_s, future))
        return future

    def close(self) -> None:
        """Kill the process, even during work, and cancel unfinished orders."""
        self._is_closed = True
        self._orders.put(None)
        if (child := self._child) is not None:
            child.kill()

    def join(self) -> None:
        """Wait until the process has ended."""
        self._thread.join()

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            if self._is_closed:
                order.future.cancel()
            if not order.future.set_running_or_notify_cancel():
                continue
            try:
                child = self._child or self._started()
                child.send(order.tasks)
                order.future.set_result(_received(child, order.deadline_s))
            except BaseException as error:  # noqa: BLE001 - passed on to the order's future
                self._end_child()
                order.future.set_exception(error)
        self._end_child()

    def _started(self) -> ChildProcess:
        """Start a process and wait until it is ready; retry if something kills it, e.g. for lack of memory.

        Raises InfrastructureError if it does not start.
        """
        for start in range(1, _STARTS + 1):
            self._child = child = ChildProcess(_work, self._settings, os.getpid())
            if self._is_closed:
                child.kill()
            try:
                # Import time counts for no task.
                _received(child, _START_S)
                return child
            except DecoderLostError as loss:
                self._end_child()
                if loss.exit_code >= 0 or self._is_closed or start == _STARTS:
                    raise InfrastructureError(
                        f"A decoding process could not be started ({loss.detail}); set data.workers to 0."
                    ) from loss
        raise AssertionError

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.end()
            self._child = None


def _received(child: ChildProcess, deadline_s: float) -> Any:
    try:
        return child.receive(deadline_s)
    except TimeoutError:
        detail = f"The decoder made no progress for {deadline_s:g} s and was stopped."
        raise DecoderLostError(Reason.DECODE_TIMEOUT, detail) from None
    except ChildDiedError as death:
        detail = f"The decoder's process died (exit code {death.child_exit_code})."
        raise DecoderLostError(Reason.DECODER_CRASHED, detail, death.child_exit_code) from death


def _work(pipe: Connection, settings: ClipSettings, parent: int) -> None:
    """Run the child: receive tasks and send clips until the pipe closes."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Load compiled code before the limit: under it, the compiler dies and OpenBLAS retries for minutes.
    make_ready()
    with memory_limit(settings.spec.cache_bytes + settings.spec.item_memory_bytes):
        pipe.send("ready")
        maker = ClipMaker(settings)
        serve(pipe, lambda tasks: pipe.send([maker.make(task) for task in tasks]))


def _end_with(parent: int) -> None:
    """Exit this process when its parent has ended, even while a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
