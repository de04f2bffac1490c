"""A child process that decodes samples; if it crashes or hangs, a new one replaces it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from bitmill.pipeline.decode.pixels.lanczos import make_ready
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.training.data.frame_cache import Frames
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, FailedTask, SampleTask
from bitmill.schemas.errors import BitmillError, InfrastructureError
from bitmill.schemas.outcomes import Reason

Made = list[Frames | FailedTask]

_START_S = 300.0
_STARTS = 3
_LOOK_S = 0.5
_READY = "ready"


class DecoderLostError(Exception):
    """The process died, or hung and was killed, before its tasks were done."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class _Order:
    tasks: Sequence[SampleTask]
    deadline_s: float
    future: "Future[Made]"


class DecodingWorker:
    """One child process and the thread that serves it; runs orders one after another."""

    def __init__(self, settings: ClipSettings) -> None:
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._closed = threading.Event()
        # The thread must not reference this object, or it could never be garbage-collected.
        arguments = (self._orders, self._closed, settings)
        self._thread = threading.Thread(target=_serve, args=arguments, daemon=True, name="decoding worker")
        self._thread.start()

    def submit(self, tasks: Sequence[SampleTask], *, deadline_s: float) -> "Future[Made]":
        """Return a future of the tasks' results; it raises DecoderLostError on a death or timeout."""
        if self._closed.is_set():
            raise ValueError("this worker is closed")
        future: Future[Made] = Future()
        self._orders.put(_Order(tasks, deadline_s, future))
        return future

    def close(self) -> None:
        """Kill the process, even during work, and cancel unfinished orders."""
        self._closed.set()
        self._orders.put(None)

    def join(self) -> None:
        """Wait until the process has ended."""
        self._thread.join()


def _serve(orders: "SimpleQueue[_Order | None]", closed: threading.Event, settings: ClipSettings) -> None:
    child: _Child | None = None
    # Ctrl-C reaches all processes of the terminal, but the trainer ends its children itself, so they inherit
    # this thread's mask. (Starting the tracker later, with multiprocessing's first child, would unblock it.)
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        while (order := orders.get()) is not None:
            if closed.is_set():
                order.future.cancel()
            if not order.future.set_running_or_notify_cancel():
                continue
            try:
                child = child or _started(settings, closed)
                order.future.set_result(child.make(order.tasks, order.deadline_s))
            except DecoderLostError as loss:
                child = _ended(child)
                order.future.set_exception(loss)
            except BaseException as error:  # noqa: BLE001 - passed on to the order's future
                child = _ended(child)
                order.future.set_exception(error)
    finally:
        _ended(child)


def _started(settings: ClipSettings, closed: threading.Event) -> "_Child":
    """Start a process and wait until it is ready; retry if it is killed meanwhile, e.g. for lack of memory.

    Raises InfrastructureError if it does not start.
    """
    for start in range(1, _STARTS + 1):
        child = _Child(settings, closed)
        try:
            child.await_ready()
            return child
        except DecoderLostError as loss:
            child.kill()
            killed = loss.reason is Reason.DECODER_CRASHED and child.exit_code < 0
            if not killed or closed.is_set() or start == _STARTS:
                raise InfrastructureError(
                    f"A decoding process could not be started ({loss.detail}); a training script must be "
                    "a file that guards its work with `if __name__ == '__main__':`; or set data.workers to 0."
                ) from loss
    raise AssertionError


def _ended(child: "_Child | None") -> None:
    if child is not None:
        child.kill()


class _Child:
    """The child process and the parent's end of its pipe."""

    def __init__(self, settings: ClipSettings, closed: threading.Event) -> None:
        # A forked child would inherit locks held by threads that do not exist in it.
        spawn = multiprocessing.get_context("spawn")
        self._closed = closed
        self._pipe, theirs = spawn.Pipe(duplex=True)
        self._process = spawn.Process(target=_work, args=(theirs, settings, os.getpid()), daemon=True)
        self._process.start()
        # Without our copy of its end, the child's death closes the pipe, even in the middle of a clip.
        theirs.close()

    def await_ready(self) -> None:
        """Wait until the child accepts tasks; import time counts for no task. Raises DecoderLostError."""
        self._receive(_START_S)

    @property
    def exit_code(self) -> int:
        """The exit code; negative if a signal ended the process."""
        return self._process.exitcode or 0

    def make(self, tasks: Sequence[SampleTask], deadline_s: float) -> Made:
        try:
            self._pipe.send(tasks)
        except OSError as error:
            raise _death(self._process.exitcode) from error
        answer = self._receive(deadline_s)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self, deadline_s: float) -> Any:
        until = time.monotonic() + deadline_s
        try:
            while not self._pipe.poll(min(_LOOK_S, max(until - time.monotonic(), 0.0))):
                if self._closed.is_set():
                    raise DecoderLostError(Reason.DECODER_CRASHED, "The loader was closed.")
                if time.monotonic() >= until:
                    detail = f"The decoder made no progress for {deadline_s:g} s and was stopped."
                    raise DecoderLostError(Reason.DECODE_TIMEOUT, detail)
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise _death(self._process.exitcode) from error


def _death(exit_code: int | None) -> DecoderLostError:
    return DecoderLostError(Reason.DECODER_CRASHED, f"The decoder's process died (exit code {exit_code}).")


def _work(pipe: Connection, settings: ClipSettings, parent: int) -> None:
    """Run the child: receive tasks and send clips until the pipe closes."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Load compiled code before the limit: under it, the compiler dies and OpenBLAS retries for minutes.
    make_ready()
    with memory_limit(settings.spec.cache_bytes + settings.spec.item_memory_bytes):
        pipe.send(_READY)
        _make_all(pipe, ClipMaker(settings))


def _make_all(pipe: Connection, maker: ClipMaker) -> None:
    while True:
        try:
            tasks: Sequence[SampleTask] = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send([maker.make(task) for task in tasks])
        except BitmillError as error:
            pipe.send(error)


def _end_with(parent: int) -> None:
    """Exit this process when its parent has ended, even while a decoder hangs."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
