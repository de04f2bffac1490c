"""A worker process that is driven through a pipe."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from bitmill.schemas.errors import BitmillError, InfrastructureError

_LAST_WORDS_S = 60.0
"""How long to wait for a worker to exit after its pipe was closed, before it is killed."""


class WorkerProcess:
    """A spawned process and the parent's end of the pipe to it.

    It runs ``work(pipe, *args)`` until the pipe is closed; on a BitmillError it sends the error and ends.
    ``doing`` completes "A process that …" in the error message if it dies.
    """

    def __init__(self, work: Callable[..., None], *args: Any, doing: str) -> None:
        # A forked child would inherit locks held by threads that it lacks, and connections to stores.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._doing = doing
        self._process = spawn.Process(target=_live, args=(work, theirs, *args), daemon=True)
        with _ctrl_c_waits():
            self._process.start()
        theirs.close()

    def send(self, work: Any) -> None:
        """Send it a work item."""
        # A dead child is detected by ``receive``.
        with suppress(OSError):
            self.pipe.send(work)

    def receive(self) -> Any:
        """Returns its next message. Raises the BitmillError that it sent, InfrastructureError if it died."""
        try:
            answer: Any = self.pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise InfrastructureError(
                f"A process that {self._doing} died (exit code {self._process.exitcode}); if memory ran "
                "out, use fewer --workers. Run the same command again to resume."
            ) from error
        if isinstance(answer, BitmillError):
            raise answer
        return answer

    def let_go(self) -> None:
        """Close the pipe: the process drops its work, cleans up and exits."""
        self.pipe.close()

    def end(self) -> None:
        """Wait up to a minute for it to exit, then kill it."""
        self._process.join(_LAST_WORDS_S)
        self.kill()

    def kill(self) -> None:
        """Kill it, even during work."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def serve(pipe: "Connection[Any, Any]", do: Callable[[Any], None]) -> None:
    """Main loop of a worker: runs ``do`` per item until the pipe closes; sends a BitmillError and stops."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work = pipe.recv()
            try:
                do(work)
            except BitmillError as error:
                pipe.send(error)
                return


def _live(work: Callable[..., None], pipe: "Connection[Any, Any]", *args: Any) -> None:
    """The entry point of the process. Skips interpreter shutdown: Arrow's threads may still read ahead, and a
    shutdown under them aborts with an error on the user's terminal.
    """
    work(pipe, *args)
    pipe.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def _ctrl_c_waits() -> Generator[None]:
    """Processes started in the block ignore Ctrl-C, which is sent to the whole terminal; they exit when their
    pipes close.
    """
    # The resource tracker starts with the first process, and starting it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
