"""Points as tables in Markdown and as plots."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.compression.curves import METRICS, bd_rate, quality
from benchmarks.compression.scoring import Point

mpl.use("Agg")

import matplotlib.pyplot as plt

_QUALITY_NAMES = {
    "psnr_db": "PSNR, dB",
    "ms_ssim": "MS-SSIM, −10·log₁₀(1 − x)",
    "lpips": "LPIPS, −10·log₁₀ x",
}
_LEAST_OVERLAP = 0.25


def curves_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """By contender, in order of appearance."""
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.contender, []).append(point)
    return curves


def points_table(points: Sequence[Point]) -> str:
    """Every point."""
    lines = [
        "| contender | setting | bit/pixel | PSNR dB | MS-SSIM | LPIPS |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {point.contender} | {point.setting} | {point.bits_per_pixel:.4f} | {point.psnr_db:.2f} | "
        f"{_text(point.ms_ssim)} | {_text(point.lpips)} |"
        for point in points
    ]
    return "\n".join(lines)


def bd_table(points: Sequence[Point], anchor: str) -> str:
    """BD-rates against ``anchor``: less than zero is better. Curves with little in common are marked."""
    curves = curves_of(points)
    lines = [
        f"| BD-rate against {anchor} | " + " | ".join(METRICS.values()) + " |",
        "|---" * (len(METRICS) + 1) + "|",
    ]
    for name, curve in curves.items():
        if name == anchor:
            continue
        cells: list[str] = []
        for metric in METRICS:
            delta = bd_rate(curves[anchor], curve, metric)
            if delta is None:
                cells.append("–")
            else:
                few = f" (over {delta.overlap:.0%})" if delta.overlap < _LEAST_OVERLAP else ""
                cells.append(f"{delta.percent:+.0f}%{few}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(points: Sequence[Point], title: str, path: Path, *, ours: Sequence[str]) -> None:
    """One panel a metric, rates on a logarithmic axis; our curves are drawn bold."""
    curves = curves_of(points)
    shown = [metric for metric in METRICS if any(quality(point, metric) is not None for point in points)]
    figure, axes = plt.subplots(1, len(shown), figsize=(5.2 * len(shown), 4.4), squeeze=False)
    for axis, metric in zip(axes[0], shown, strict=True):
        for name, curve in curves.items():
            ordered = sorted(curve, key=lambda point: point.bits_per_pixel)
            bold = name in ours
            axis.plot(
                [point.bits_per_pixel for point in ordered],
                [quality(point, metric) for point in ordered],
                marker="o" if bold else ".",
                linewidth=2.0 if bold else 1.0,
                linestyle="-" if bold else "--",
                markersize=4,
                label=name,
            )
        axis.set_xscale("log")
        axis.set_xlabel("bit/pixel of whole files")
        axis.set_ylabel(_QUALITY_NAMES[metric])
        axis.grid(visible=True, which="both", alpha=0.25)
    axes[0][0].legend(fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=90)
    plt.close(figure)


def _text(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else "–"
