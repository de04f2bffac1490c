"""Histograms with fixed edges, which can be merged in any order."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bitmill.schemas.reports.audit_report import Histogram


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a histogram counts, and its edges; the last bin is open-ended."""

    unit: str
    of: Literal["items", "clips"]
    edges: tuple[float, ...]


_POWERS = tuple(float(2**power) for power in range(17))

SCALES: dict[str, Scale] = {
    "clip seconds": Scale(unit="s", of="clips", edges=(0, 0.125, 0.25, 0.5, *_POWERS[:13])),
    "clip frames": Scale(unit="frames", of="clips", edges=_POWERS),
    "source height": Scale(unit="px", of="items", edges=(0, 144, 240, 360, 480, 720, 1080, 1440, 2160, 4320)),
    "source fps": Scale(
        unit="fps", of="items", edges=(0, 5, 10, 15, 20, 23, 24.5, 26, 29, 31, 48, 52, 59, 61, 120, 240)
    ),
    "item duration": Scale(
        unit="s", of="items", edges=(0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
    ),
}


@dataclass
class HistogramTally:
    """Bin counts of one scale."""

    name: str
    counts: dict[int, int] = field(default_factory=dict[int, int])
    largest: float = 0.0

    def add(self, values: Sequence[float] | npt.NDArray[Any]) -> None:
        """Count values; a value below the first edge counts in the first bin."""
        if not len(values):
            return
        bins = np.maximum(np.searchsorted(SCALES[self.name].edges, values, side="right") - 1, 0)
        for place, count in zip(*np.unique(bins, return_counts=True), strict=True):
            self.counts[int(place)] = self.counts.get(int(place), 0) + int(count)
        self.largest = max(self.largest, float(np.max(values)))

    def count(self, value: float) -> None:
        """Count one value, as ``add`` does."""
        place = max(bisect_right(SCALES[self.name].edges, value) - 1, 0)
        self.counts[place] = self.counts.get(place, 0) + 1
        self.largest = max(self.largest, float(value))

    def merge(self, other: "HistogramTally") -> None:
        """Add another's counts."""
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count
        self.largest = max(self.largest, other.largest)

    def report(self) -> Histogram | None:
        """The bins from the first to the last nonempty one; None if nothing was counted."""
        if not self.counts:
            return None
        scale = SCALES[self.name]
        first, last = min(self.counts), max(self.counts)
        edges = [*scale.edges, max(self.largest, 2 * scale.edges[-1])][first : last + 2]
        counts = [self.counts.get(place, 0) for place in range(first, last + 1)]
        return Histogram(name=self.name, unit=scale.unit, of=scale.of, edges=list(edges), counts=counts)
