"""How far a command is, in one line: live on a terminal, now and then in a log."""

import time
from collections.abc import Callable
from typing import Self

from rich.live import Live
from rich.text import Text

from bitmill.jobs.console import Console

_SHOW_EVERY_S = 0.25
_LOG_EVERY_S = 10.0


class LiveLine:
    """A context manager: a live line on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._logged = self._shown = clock()
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, line: Callable[[], str]) -> None:
        """Take a moment's line; may be called for every little thing, as most moments are not shown."""
        now = self._clock()
        if self._live and now - self._shown >= _SHOW_EVERY_S:
            self._shown = now
            self._live.update(Text(line(), no_wrap=True, overflow="ellipsis"))
        elif not self._live and now - self._logged >= _LOG_EVERY_S:
            self._logged = now
            self._console.print(line())
