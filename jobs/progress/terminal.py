"""Progress of a run: live rows on a terminal, log lines elsewhere; and the summary at the end."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.progress.progress_text import line_of, rows_of
from bitmill.jobs.progress.run_counts import Counts
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.schemas.dataset.card import DatasetCard, Totals
from bitmill.schemas.outcomes import REASON_TEXT, Reason

_LOG_EVERY_S = 10.0


class Progress:
    """A context manager that shows how a run stands: at once on a terminal, every ten seconds in a log."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._logged = clock()
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, counts: Counts) -> None:
        """Show a moment's counts, or in a log what the driver waits for instead."""
        if self._live:
            self._live.update(rows_of(counts, width=self._console.width, height=self._console.height))
        elif self._clock() - self._logged >= _LOG_EVERY_S:
            self._logged = self._clock()
            self._console.print(counts.note or line_of(counts), highlight=False, soft_wrap=True)


def summary(card: DatasetCard, totals: Totals, console: Console) -> None:
    """Print a dataset's totals and, where items are not ok, the reasons."""
    table = Table(show_header=False, box=None, pad_edge=False)
    what = f"sources, with {totals.items} items," if totals.items > card.num_sources else "items"
    rows = [
        ("planned", f"{card.num_sources} {what} in {card.num_shards} shards"),
        ("ok", f"{totals.ok}"),
        ("partial", f"{totals.partial}"),
        ("failed", f"{totals.failed}"),
        (
            "tokenized",
            f"{totals.clips} clips, {totals.frames} frames, {duration_text(totals.tokenized_ns / 1e9)}",
        ),
        ("tokens", f"{totals.tokens:,} of {card.tokenizer.bits_per_token} bits"),
        ("codes", bytes_text(totals.code_bytes)),
        ("tokenizer", card.tokenizer_fingerprint),
    ]
    if card.num_retried:
        rows.insert(1, ("done again", f"{card.num_retried} items that had failed"))
    if card.ignored_files:
        rows.append(("left out", f"{card.ignored_files} files that are no media by their names"))
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    if totals.reasons:
        reasons = Table("reason", "items", "meaning", box=None, pad_edge=False)
        for name, count in totals.reasons.items():
            reasons.add_row(name, str(count), REASON_TEXT[Reason(name)])
        console.print(reasons)
