"""Formats a run's counts as text: one line for a log, rows for a terminal. No I/O."""

from collections.abc import Callable, Mapping

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bitmill.jobs.progress.run_counts import Counts
from bitmill.jobs.progress.units import duration_text, rate_text
from bitmill.schemas.counted import counted
from bitmill.schemas.reports.status_file import ACTOR_STAGES, DECODER_STAGES, GPU

_LABEL_CELLS = 10
_BAR_CELLS = 30
_NARROWEST_CELLS = 40
_SHORTEST_ROWS = 5


def line_of(counts: Counts) -> str:
    """Returns one line: items, clips, frames and tokens per second, remaining time, failures."""
    rates = counts.rates
    return " · ".join(
        [
            f"{counts.items.done}/{counted(str(counts.items.planned), 'item')}",
            f"{counted(str(counts.clips), 'clip')} ({rate_text(rates.clips)}/s)",
            f"{rate_text(rates.frames)} frames/s",
            f"{rate_text(rates.tokens)} tokens/s",
            _left(counts),
            f"{counts.not_ok} not ok",
        ]
    )


def rows_of(counts: Counts, *, width: int, height: int) -> RenderableType:
    """Returns rows for a terminal of ``width`` x ``height`` cells; one line if it is too small for them.

    No row wraps, and there are at most ``height - 1``, which leaves one for the cursor.
    """
    if width < _NARROWEST_CELLS or height < _SHORTEST_ROWS:
        return Group(_whole_line(counts.note or line_of(counts)))
    rows: list[RenderableType] = [_row(label, value) for label, value in _values(counts)]
    rows.insert(0, _shards(counts, width))
    if counts.note:
        rows.insert(0, _whole_line(counts.note))
    return Group(*rows[: height - 1])


def tokenized_text(clips: int, frames: int, tokens: int) -> str:
    """Returns "2 clips, 1 frame, 256 tokens"."""
    return ", ".join((counted(clips, "clip"), counted(frames, "frame"), counted(tokens, "token")))


def stage_shares(seconds: Mapping[str, float]) -> str:
    """Returns each stage's share of the decoders' time and of the actors' time."""
    return _by_stage(seconds, lambda spent, whole: f"{spent / whole:.0%}")


def stage_times(seconds: Mapping[str, float]) -> str:
    """Returns the time of decoders and of actors by stage, and how busy GPUs were."""
    times, busy = _by_stage(seconds, lambda spent, _: duration_text(spent)), gpu_busy(seconds)
    return times if busy is None else f"{times} · GPU busy {busy:.0%}"


def gpu_busy(seconds: Mapping[str, float]) -> float | None:
    """Returns the share of the actors' time in which a GPU computed; None if none was used."""
    actors_s = sum(seconds.get(stage, 0.0) for stage in ACTOR_STAGES)
    return min(1.0, seconds[GPU] / actors_s) if GPU in seconds and actors_s > 0 else None


def _by_stage(seconds: Mapping[str, float], told: Callable[[float, float], str]) -> str:
    parts: list[str] = []
    for who, stages in (("decoders", DECODER_STAGES), ("actors", ACTOR_STAGES)):
        spent = {stage: seconds[stage] for stage in stages if stage in seconds}
        whole = sum(spent.values())
        if whole > 0:
            parts.append(
                f"{who}: " + ", ".join(f"{stage} {told(one, whole)}" for stage, one in spent.items())
            )
    return " · ".join(parts)


def _values(counts: Counts) -> list[tuple[str, str]]:
    """Labels and values, most important first."""
    rates = counts.rates
    speeds = {"items": rates.items, "clips": rates.clips, "frames": rates.frames, "tokens": rates.tokens}
    rows = [
        ("items", _items(counts)),
        ("a second", ", ".join(f"{rate_text(speed)} {what}" for what, speed in speeds.items())),
        ("not ok", _failures(counts)),
        ("actors", _actors(counts)),
        ("so far", tokenized_text(counts.clips, counts.frames, counts.tokens)),
    ]
    shares = stage_shares(counts.seconds)
    if shares:
        rows.insert(4, ("time", shares))
    return rows


def _shards(counts: Counts, width: int) -> RenderableType:
    done, planned = counts.shards.done, counts.shards.planned
    cells = min(_BAR_CELLS, width - _NARROWEST_CELLS + _LABEL_CELLS)
    row = Table.grid()
    row.add_column(width=_LABEL_CELLS)
    row.add_column(width=cells)
    row.add_column(no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=max(1, planned), completed=done, width=cells)
    row.add_row(Text("shards", style="dim"), bar, _whole_line(f" {done} of {planned}"))
    return row


def _row(label: str, value: str) -> Text:
    # Not a table, which would shrink the labels when a value is long.
    row = _whole_line(label.ljust(_LABEL_CELLS) + value)
    row.stylize("dim", 0, len(label))
    return row


def _whole_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _items(counts: Counts) -> str:
    done, planned = counts.items.done, counts.items.planned
    # An item counts as done once its last clip is read; that clip must still be encoded, and its shard
    # committed.
    are_read = done == planned and counts.shards.done < counts.shards.planned
    left = "the last clips are under way" if are_read else _left(counts)
    return f"{done:,} of {planned:,}, {left}"


def _failures(counts: Counts) -> str:
    if not counts.not_ok:
        return "0"
    often_first = sorted(counts.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in often_first)
    return f"{counts.not_ok:,}: {reasons}" if reasons else f"{counts.not_ok:,}"


def _actors(counts: Counts) -> str:
    actors, busy = counts.actors, gpu_busy(counts.seconds)
    parts = [f"{actors.at_work} at work"]
    if actors.idle:
        parts.append(f"{actors.idle} idle")
    if actors.starting:
        parts.append(f"{actors.starting} starting, or waiting for room")
    if busy is not None:
        parts.append(f"GPU busy {busy:.0%}")
    return ", ".join(parts)


def _left(counts: Counts) -> str:
    if counts.remaining_s is not None:
        return f"{duration_text(max(0.0, counts.remaining_s))} left"
    actors = counts.actors
    return "actors are starting" if actors.starting and not actors.at_work else "time left not known yet"
