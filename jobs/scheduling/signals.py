"""SIGTERM, as from ``bitmill stop`` or a node that goes, ends a job like Ctrl-C does."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from bitmill.schemas.errors import InterruptedJobError


@contextmanager
def stoppable(*, kept: str = "committed shards stay") -> Generator[None]:
    """SIGTERM and Ctrl-C in the block become InterruptedJobError, which says what is ``kept``; what the block
    began is cleaned up once.

    A second SIGTERM changes nothing: whoever cannot wait for the cleaning up kills.
    """
    before = signal.getsignal(signal.SIGTERM)
    handle_sigterm()
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise InterruptedJobError(
            f"Interrupted; {kept}. Run the same command again to resume."
        ) from interrupt
    finally:
        if _in_main_thread():
            signal.signal(signal.SIGTERM, before)


def handle_sigterm() -> None:
    """Take SIGTERM for Ctrl-C; to be called again once Ray, which sets a handler of its own, has started."""
    if _in_main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def asked_to_stop() -> Generator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that the step at work is finished and kept."""
    event = threading.Event()
    wanted = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: event.set()) for number in wanted}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
