"""Figures measured round after round: the middle, the spread, and the ratio to another's."""

from collections.abc import Sequence
from statistics import median
from typing import Any


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, spread, and each round's value."""
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def ratio(told: dict[str, Any], reference: dict[str, Any]) -> float:
    """The median of the ratios of each round: whatever else the machine did, it did to both."""
    return median(a / b for a, b in zip(told["rounds"], reference["rounds"], strict=True))
