"""A child process that may crash or hang and can be killed, and that is driven through a pipe."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker, spawn
from multiprocessing.connection import Connection
from typing import Any

from bitmill.schemas.errors import BitmillError, InfrastructureError

# A forked child would inherit locks held by threads that it lacks, and connections to stores.
_SPAWN = multiprocessing.get_context("spawn")

_get_preparation_data = spawn.get_preparation_data
_this_thread = threading.local()


def _preparation_data(name: str) -> dict[str, Any]:
    """What ``multiprocessing`` tells a spawned process, of ours without the main module.

    It would run the user's script again, which starts its work anew unless a guard prevents it; in an actor
    it would import Ray. Ours run functions of bitmill alone.
    """
    data = _get_preparation_data(name)
    if getattr(_this_thread, "starts_ours", False):
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


# Other threads of the program may start processes of theirs meanwhile.
spawn.get_preparation_data = _preparation_data

_LONGEST_WAIT_S = 2_000_000.0
"""The system's calls count milliseconds in 32 bits."""

_LAST_WORDS_S = 60.0
"""How long to wait for a process to exit after its pipe was closed, before it is killed."""


class ChildDiedError(InfrastructureError):
    """The process died; expected only of those that read untrusted bytes."""

    child_exit_code = 0
    """Negative if a signal ended it."""


class ChildProcess:
    """A spawned process and the parent's end of the pipe to it.

    It runs ``work(pipe, *args)``, then exits; Ctrl-C never ends it. ``doing`` completes "A process that …" in
    the error message if it dies.
    """

    def __init__(self, work: Callable[..., None], *args: Any, doing: str = "decoded") -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._doing = doing
        self._process = _SPAWN.Process(target=_live, args=(work, theirs, *args), daemon=True)
        # Ctrl-C is sent to the whole terminal, but the parent ends its children. The resource tracker starts
        # with the first process, and starting it would unblock the signal.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        _this_thread.starts_ours = True
        try:
            self._process.start()
        finally:
            _this_thread.starts_ours = False
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Without our copy of its end, the child's death closes the pipe, even in the middle of a message.
        theirs.close()

    def send(self, message: Any) -> None:
        """Send it a message."""
        # A dead child is detected by ``receive``.
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self, timeout_s: float | None = None) -> Any:
        """Returns its next message. Raises TimeoutError, ChildDiedError, the BitmillError that it sent."""
        try:
            is_there = self.pipe.poll(None if timeout_s is None else min(timeout_s, _LONGEST_WAIT_S))
            message: Any = self.pipe.recv() if is_there else None
        except (EOFError, OSError) as error:
            self.end()
            code = self._process.exitcode or 0
            died = ChildDiedError(
                f"A process that {self._doing} died (exit code {code}); if memory ran "
                "out, use fewer --workers. Run the same command again to resume."
            )
            died.child_exit_code = code
            raise died from error
        if not is_there:
            raise TimeoutError
        if isinstance(message, BitmillError):
            raise message
        return message

    def kill(self) -> None:
        """Kill it, even while another thread waits in ``receive``, which then raises ChildDiedError."""
        self._process.kill()

    def let_go(self) -> None:
        """Close the pipe: the process drops its work, cleans up and exits."""
        self.pipe.close()

    def end(self) -> None:
        """Close the pipe, wait up to a minute for the process to exit, then kill it."""
        self.pipe.close()
        self._process.join(_LAST_WORDS_S)
        self._process.kill()
        self._process.join()


def serve(pipe: "Connection[Any, Any]", do: Callable[[Any], None]) -> None:
    """Main loop of a child: runs ``do`` per message until the pipe closes; sends a BitmillError and stops."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            message = pipe.recv()
            try:
                do(message)
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
