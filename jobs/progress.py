"""Progress of a run: a live line on a terminal, log lines elsewhere; and the summary at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.shard.loop import ShardProgress
from schemas.dataset import DatasetCard, Totals
from schemas.outcomes import REASON_TEXT, Outcome, Reason

_LOG_EVERY_S = 10.0


@dataclass
class _Counts:
    """What one shard has reported so far."""

    items: int = 0
    added_items: int = 0
    not_ok: int = 0
    clips: int = 0
    frames: int = 0
    tokens: int = 0

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(
            items=self.items + other.items,
            added_items=self.added_items + other.added_items,
            not_ok=self.not_ok + other.not_ok,
            clips=self.clips + other.clips,
            frames=self.frames + other.frames,
            tokens=self.tokens + other.tokens,
        )


class Progress:
    """A context manager that counts what shards report and shows it with rates and remaining time."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._logged = self._started
        self._planned = 0
        self._earlier = Totals()
        self._counts: dict[str, _Counts] = {}
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

    def begin(self, planned: int, earlier: Totals) -> None:
        """Set how many items are planned and what earlier runs did; rates count from now."""
        self._planned, self._earlier = planned, earlier
        self._started = self._logged = self._clock()

    def advance(self, event: ShardProgress) -> None:
        """Count one report."""
        counts = self._counts.setdefault(event.shard_id, _Counts())
        counts.clips += event.clips
        counts.frames += event.frames
        counts.tokens += event.tokens
        counts.added_items += event.added_items
        if event.ended is not None:
            counts.items += 1
            counts.not_ok += event.ended.outcome is not Outcome.OK

    def drop(self, shard_id: str) -> None:
        """Forget the counts of a shard that starts over."""
        self._counts.pop(shard_id, None)

    def commit(self, shard_id: str, totals: Totals, seconds: dict[str, float]) -> None:
        """A shard's counts stay as they were reported."""

    def refresh(self, note: str | None = None) -> None:
        """Show the state now, or a note instead: at once on a terminal, every ten seconds in a log."""
        line = note or self.line()
        if self._live:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))
        elif self._clock() - self._logged >= _LOG_EVERY_S:
            self._logged = self._clock()
            self._console.print(line, highlight=False, soft_wrap=True)

    def line(self) -> str:
        """One line: items, clips, frames and tokens a second, remaining time, failures."""
        elapsed = max(self._clock() - self._started, 1e-9)
        now = sum(self._counts.values(), start=_Counts())
        done = self._earlier.items + now.items
        planned = self._planned + now.added_items
        remaining = (planned - done) * elapsed / now.items if now.items else None
        parts = [
            f"{done}/{planned} items",
            f"{now.clips} clips ({now.clips / elapsed:.1f}/s)",
            f"{_scaled(now.frames / elapsed)} frames/s",
            f"{_scaled(now.tokens / elapsed)} tokens/s",
            f"{duration_text(remaining) if remaining is not None else '?'} left",
            f"{now.not_ok + self._earlier.failed + self._earlier.partial} not ok",
        ]
        return " · ".join(parts)


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


def duration_text(seconds: float) -> str:
    """Seconds as a person reads them: 12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_text(size: int) -> str:
    """Bytes in binary units."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def _scaled(rate: float) -> str:
    for unit in ("", "k", "M"):
        if rate < 1000 or unit == "M":
            return f"{rate:.1f}{unit}" if rate < 10 or unit else f"{rate:.0f}"
        rate /= 1000
    raise AssertionError
