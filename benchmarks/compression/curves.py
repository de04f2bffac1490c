"""BD-rates between curves, by the package ``bjontegaard`` (ITU-T VCEG-M33, with Akima interpolation)."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compression.scoring import Point

LEAST_POINTS = 4

METRICS = {
    "psnr_db": "PSNR",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
}


@dataclass(frozen=True, kw_only=True)
class Delta:
    """How many more bits a curve needs than the anchor at equal quality, over the qualities of both."""

    percent: float
    overlap: float
    """The share of the shorter curve's range of qualities that the other has, too."""


def quality(point: Point, metric: str) -> float | None:
    """The metric on a scale that grows with quality: dB, −10·log10(1 − MS-SSIM), −10·log10(LPIPS)."""
    value: float | None = getattr(point, metric)
    if value is None or metric == "psnr_db":
        return value
    return -10 * math.log10(max(value if metric == "lpips" else 1 - value, 1e-6))


def bd_rate(anchor: Sequence[Point], tested: Sequence[Point], metric: str) -> Delta | None:
    """BD-rate of ``tested``; null where a curve has under four points, or the curves share no quality."""
    curves = [_rising(points, metric) for points in (anchor, tested)]
    if min(map(len, curves)) < LEAST_POINTS:
        return None
    (low_a, high_a), (low_b, high_b) = ((curve[0][1], curve[-1][1]) for curve in curves)
    shared = min(high_a, high_b) - max(low_a, low_b)
    if shared <= 0:
        return None
    (rates_a, dist_a), (rates_b, dist_b) = (tuple(zip(*curve, strict=True)) for curve in curves)
    # With scipy and matplotlib, which take seconds to import.
    import bjontegaard

    with warnings.catch_warnings():
        # A small overlap is told in the table.
        warnings.simplefilter("ignore")
        percent = bjontegaard.bd_rate(
            rates_a, dist_a, rates_b, dist_b, method="akima", require_matching_points=False, min_overlap=0
        )
    return Delta(percent=float(percent), overlap=shared / min(high_a - low_a, high_b - low_b))


def _rising(points: Sequence[Point], metric: str) -> list[tuple[float, float]]:
    """(bits a pixel, quality), both strictly rising: a point that costs more and shows less is left out."""
    curve: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: point.bits_per_pixel):
        value = quality(point, metric)
        if value is not None and (
            not curve or (value > curve[-1][1] and point.bits_per_pixel > curve[-1][0])
        ):
            curve.append((point.bits_per_pixel, value))
    return curve
