"""The Markdown table, with ratios against the first contender."""

from collections.abc import Mapping
from typing import Any

from benchmarks.repeated import ratio

_HEADINGS = {
    "sequential": "sequential",
    "shuffled": "shuffled",
    "clips": "random single clips",
    "workers": "two DataLoader workers, shuffled",
}


def rates_table(contenders: Mapping[str, dict[str, Any]], modes: tuple[str, ...]) -> str:
    """Mtok/s: median (min to max), and the ratio to the first contender."""
    lines = ["| Mtok/s: median (min–max), × ours | " + " | ".join(_HEADINGS[mode] for mode in modes) + " |"]
    lines.append("|---" * (len(modes) + 1) + "|")
    ours = next(iter(contenders.values()))
    for told in contenders.values():
        cells = [_rate_cell(told["modes"].get(mode, {}), ours["modes"].get(mode, {})) for mode in modes]
        lines.append(f"| {told['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sizes_table(contenders: Mapping[str, dict[str, Any]]) -> str:
    """Bytes on disk, memory, the wait for the first batch, and how well shuffling mixes (uniform: 1)."""
    heads = ["", "bytes a token", "peak memory", "of it private", "first shuffled batch"]
    heads += ["diversity", "spread"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for told in contenders.values():
        memory = told.get("memory", {})
        cells = [f"{told['bytes_per_token']:.3f}"]
        cells += [f"{memory[key] / 2**20:.0f} MiB" if key in memory else "–" for key in ("peak", "private")]
        first = told["modes"].get("shuffled", {}).get("first_batch_s")
        cells.append(f"{first['median'] * 1000:.0f} ms" if first else "–")
        mixing = told.get("mixing", {})
        cells += [f"{mixing[key]:.2f}" if key in mixing else "–" for key in ("diversity", "spread")]
        lines.append(f"| {told['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rate_cell(mode: dict[str, Any], ours: dict[str, Any]) -> str:
    if "tokens_per_s" not in mode:
        return "failed" if "failed" in mode else "–"
    rate = mode["tokens_per_s"]
    middle, low, high = (_mega(rate[key]) for key in ("median", "min", "max"))
    told = f"{middle} ({low}–{high})"
    if "tokens_per_s" in ours:
        told += f", {ratio(rate, ours['tokens_per_s']):.2f}×"
    return told


def _mega(tokens_per_s: float) -> str:
    mega = tokens_per_s / 1e6
    return f"{mega:.0f}" if mega >= 10 else f"{mega:.2g}"
