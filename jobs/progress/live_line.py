"""Progress display: updated in place on a terminal, printed periodically in a log."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from bitmill.jobs.console import Console

LOG_EVERY_S = 10.0
_SHOW_EVERY_S = 0.25


class LiveLine(AbstractContextManager["LiveLine"]):
    """Context manager: a live line or rows on a terminal, else a log line every ``log_every_s`` seconds.

    With ``transient``, the live output is cleared from the terminal on exit.
    """

    def __init__(
        self,
        console: Console,
        *,
        transient: bool = True,
        log_every_s: float = LOG_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._log_every_s = log_every_s
        self._logged = clock()
        self._shown: float | None = None
        self._live = (
            Live(console=console, refresh_per_second=4, transient=transient) if console.is_terminal else None
        )

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, line: Callable[[], str], *, rows: Callable[[], RenderableType] | None = None) -> None:
        """Show the current state; cheap to call often, since most calls are rate-limited away.

        On a terminal, ``rows`` are shown instead of ``line``.
        """
        now = self._clock()
        if self._live and (self._shown is None or now - self._shown >= _SHOW_EVERY_S):
            if self._shown is None:
                # Not before the first state: what starts meanwhile prints undisturbed.
                self._live.start()
            self._shown = now
            self._live.update(rows() if rows else Text(line(), no_wrap=True, overflow="ellipsis"))
        elif not self._live and now - self._logged >= self._log_every_s:
            self._logged = now
            self._console.print(line(), highlight=False, soft_wrap=True)


class LiveView:
    """Base class of context managers that show something on one live line."""

    def __init__(self, shown: LiveLine) -> None:
        self._shown = shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()
