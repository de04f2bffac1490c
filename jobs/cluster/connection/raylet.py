"""Watches a local Ray's raylet, and reports its death before Ray's library silently exits the driver."""

import importlib
import os
import select
import signal
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import FrameType

from bitmill.schemas.errors import InfrastructureError

_SIGNAL = signal.SIGUSR1
"""Sent by the watching thread to interrupt the main thread inside Ray's calls."""

_AGAIN_S = 1.0
"""Until it is sent again: one that arrives just before a call blocks does not interrupt that call."""


@contextmanager
def raylet_watched() -> Generator[None]:
    """Raise InfrastructureError in the block as soon as the raylet of this process's Ray dies.

    Works only in the main thread, since signals cannot interrupt others.
    """
    pid = _raylet_pid()
    if pid is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        ended.set()
        # The only exception that Ray's calls propagate from a signal handler.
        raise KeyboardInterrupt

    with ExitStack() as stack:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        block, end_of_block = os.pipe()
        stack.callback(os.close, block)
        stack.callback(signal.signal, _SIGNAL, signal.signal(_SIGNAL, interrupt))
        what = (process, block, ended)
        thread = threading.Thread(target=_watch, args=what, name="bitmill-raylet", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(os.close, end_of_block)
        try:
            yield
        except KeyboardInterrupt as interrupted:
            if not ended.is_set():
                raise
            raise InfrastructureError(
                "Ray's process on this machine (raylet) was killed from outside, as the kernel does when "
                "memory is short; committed shards stay. Run the same command again to resume, with fewer "
                "compute.actors and compute.decoders if memory was short."
            ) from interrupted


def _watch(process: int, block: int, ended: threading.Event) -> None:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(block, select.POLLIN)
    main = threading.main_thread().ident
    while main is not None and block not in {descriptor for descriptor, _ in poll.poll()}:
        signal.pthread_kill(main, _SIGNAL)
        if ended.wait(_AGAIN_S):
            return


def _raylet_pid() -> int | None:
    """Ray has no public API for it; if its internals change, nothing is watched, and a test fails."""
    node = getattr(importlib.import_module("ray._private.worker"), "_global_node", None)
    started = getattr(node, "all_processes", {}).get("raylet", [])
    return started[0].process.pid if started else None
