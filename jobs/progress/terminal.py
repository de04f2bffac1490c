"""Shows a run's progress, as live rows on a terminal or log lines elsewhere, and its final summary."""

import time
from collections.abc import Callable

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine, LiveView
from bitmill.jobs.progress.progress_text import line_of, rows_of
from bitmill.jobs.progress.run_counts import Counts


class Progress(LiveView):
    """Context manager that shows a run's progress: live on a terminal, every ten seconds in a log."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        super().__init__(LiveLine(console, transient=False, clock=clock))

    def show(self, counts: Counts) -> None:
        """Show the current counts; in a log, show what the driver is waiting for instead, if anything."""
        self._shown.show(
            lambda: counts.note or line_of(counts),
            rows=lambda: rows_of(counts, width=self._console.width, height=self._console.height),
        )
