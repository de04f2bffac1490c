"""A process of ours that works beside this one, fed and heard through a pipe."""

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
"""A process that is to stop does so with its pipe, as soon as it next looks at it."""


class WorkerProcess:
    """A process, and our end of the pipe to it.

    It runs ``work(pipe, *args)`` until the pipe ends; what it cannot finish by a BitmillError it sends that.
    ``doing`` is what it does, for the sentence that tells of its death.
    """

    def __init__(self, work: Callable[..., None], *args: Any, doing: str) -> None:
        # A forked child would share locks of threads, and connections to stores, that it does not have.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._doing = doing
        self._process = spawn.Process(target=_live, args=(work, theirs, *args), daemon=True)
        with _ctrl_c_waits():
            self._process.start()
        theirs.close()

    def send(self, work: Any) -> None:
        """Give it something to do."""
        # A dead child is noticed when its answer is read.
        with suppress(OSError):
            self.pipe.send(work)

    def receive(self) -> Any:
        """Its next report. Raises what it failed by, InfrastructureError where it died."""
        try:
            answer: Any = self.pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise InfrastructureError(
                f"A process that {self._doing} died (exit code {self._process.exitcode}); with fewer "
                "--workers there is more memory for each. Run the same command again to go on."
            ) from error
        if isinstance(answer, BitmillError):
            raise answer
        return answer

    def let_go(self) -> None:
        """Without a pipe it gives up its work, sweeps up and ends."""
        self.pipe.close()

    def end(self) -> None:
        """Wait for its end, but not for ever."""
        self._process.join(_LAST_WORDS_S)
        self._process.kill()
        self._process.join()


def serve(pipe: "Connection[Any, Any]", do: Callable[[Any], None]) -> None:
    """A worker's life: what comes is done, until the pipe ends, or a BitmillError, which is sent, ends it."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work = pipe.recv()
            try:
                do(work)
            except BitmillError as error:
                pipe.send(error)
                return


def _live(work: Callable[..., None], pipe: "Connection[Any, Any]", *args: Any) -> None:
    """The whole of a process. It ends here: Arrow's threads may still read ahead what nobody wants any more,
    and an interpreter that is taken down under them aborts, and says so on the user's terminal.
    """
    work(pipe, *args)
    pipe.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def _ctrl_c_waits() -> Generator[None]:
    """Processes started in the block never hear of Ctrl-C, which reaches the whole terminal: they end with
    their pipes.
    """
    # It comes with the first process, and would lift the mask.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
