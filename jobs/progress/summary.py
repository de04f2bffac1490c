"""Prints the summary of a dataset: totals, and the reasons why items are not ok."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import DatasetCard, Totals
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.outcomes import REASON_TEXT, Reason


def summary(card: DatasetCard, totals: Totals, console: Console) -> None:
    """Print a dataset's totals and the reasons of items that are not ok."""
    sources = counted(card.num_sources, "item")
    if totals.items > card.num_sources:
        sources = f"{counted(card.num_sources, 'source')}, with {counted(totals.items, 'item')},"
    rows = [
        ("planned", f"{sources} in {counted(card.num_shards, 'shard')}"),
        ("ok", f"{totals.ok}"),
        ("partial", f"{totals.partial}"),
        ("failed", f"{totals.failed}"),
        (
            "tokenized",
            (
                f"{counted(totals.clips, 'clip')}, {counted(totals.frames, 'frame')}, "
                f"{duration_text(totals.tokenized_ns / 1e9)} of playing time"
            ),
        ),
        ("tokens", f"{totals.tokens:,} of {card.geometry.code.bits_per_token} bits"),
        ("codes", bytes_text(totals.code_bytes)),
        ("tokenizer", _tokenizer(card)),
    ]
    if isinstance(card.tokenizer, PluginConfig):
        rows.append(("plugin", f"{card.tokenizer.plugin} of {card.tokenizer.package}"))
    if card.tokenizer_note is not None:
        rows.append(("note", card.tokenizer_note))
    if card.num_retried:
        rows.insert(1, ("done again", f"{counted(card.num_retried, 'item')} that had failed"))
    if card.ignored_files:
        rows.append(("left out", f"{counted(card.ignored_files, 'file')} without a media name"))
    print_pairs(rows, console)
    print_reasons(totals, console)


def _tokenizer(card: DatasetCard) -> str:
    """Returns the fingerprint, after the name of a bundled tokenizer or of a preset."""
    spec: dict[str, Any] = card.job.get("tokenizer") or {}
    name = spec.get("bundled") or spec.get("preset")
    return f"{name}, {card.tokenizer_fingerprint}" if name else card.tokenizer_fingerprint


def print_pairs(rows: Iterable[tuple[str, str]], console: Console) -> None:
    """Print names and values in two columns."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


def print_reasons(totals: Totals, console: Console) -> None:
    """Print one row per reason why items are not ok; nothing if all are ok."""
    if totals.reasons:
        reasons = Table("reason", "items", "meaning", box=None, pad_edge=False)
        for name, count in totals.reasons.items():
            reasons.add_row(name, str(count), REASON_TEXT[Reason(name)])
        console.print(reasons)
