"""Handling of Ctrl-C and SIGTERM (from ``bitmill stop`` or a node shutdown) for each kind of command."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from bitmill.jobs.scheduling.graceful_shutdown import StopRequest
from bitmill.schemas.errors import InterruptedJobError


@contextmanager
def stoppable(*, kept: str = "committed shards stay") -> Generator[None]:
    """Turn SIGTERM and Ctrl-C within the block into InterruptedJobError; ``kept`` says what is preserved.

    A second SIGTERM is ignored while the block cleans up; SIGKILL ends it at once.
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
    """Treat SIGTERM as Ctrl-C. Call it again after Ray has started, which sets its own handler."""
    if _in_main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def drained_on_sigterm() -> Generator[StopRequest]:
    """Yield a StopRequest that SIGTERM sets; restores the previous handler on exit.

    Outside the main thread nothing changes. Enter after Ray has started, which sets its own handler.
    """
    request = StopRequest()
    if not _in_main_thread():
        yield request
        return
    with _handled((signal.SIGTERM,), lambda *_: request.receive()):
        yield request


@contextmanager
def asked_to_stop() -> Generator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that the current step is finished and saved."""
    event = threading.Event()
    with _handled((signal.SIGINT, signal.SIGTERM), lambda *_: event.set()):
        yield event


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], object]
) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
