"""Coverage by one property: one row per value up to a bound, the rest summed."""

import hashlib
import heapq
from dataclasses import dataclass, field

from bitmill.pipeline.auditing.coverage.sums import Sums
from bitmill.schemas.reports.audit_report import CoverageRow, CoverageTable

MAX_VALUES = 4096
"""Maximum number of values with their own row."""
MAX_ROWS = 100
MAX_VALUE_CHARACTERS = 200

Value = str | None


@dataclass
class TableTally:
    """Sums by value, with a bounded number of rows.

    None always has its own row; of other values, the ``max_values`` with the smallest hashes have one, and
    the rest are summed. Chosen by hash instead of by count, a value that has a row in the end had one in
    every merged tally: so rows are exact in any order of merging.
    """

    max_values: int = MAX_VALUES
    rows: dict[Value, Sums] = field(default_factory=dict[Value, Sums])
    rest: Sums = field(default_factory=Sums)
    is_cut: bool = False
    """True if some values are in ``rest``."""
    _largest: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """A heap of the values with rows, largest hash first (negated)."""

    def add(self, value: Value, sums: Sums) -> None:
        """Add to a value's row."""
        value = value if value is None else value[:MAX_VALUE_CHARACTERS]
        if value not in self.rows:
            if value is not None and not self._admit(value):
                self.rest.merge(sums)
                return
            self.rows[value] = Sums()
        self.rows[value].merge(sums)

    def merge(self, other: "TableTally") -> None:
        """Add another's sums."""
        self.is_cut |= other.is_cut
        self.rest.merge(other.rest)
        for value, sums in other.rows.items():
            self.add(value, sums)

    def _admit(self, value: str) -> bool:
        entry = (-_hash(value), value)
        if len(self._largest) < self.max_values:
            heapq.heappush(self._largest, entry)
            return True
        self.is_cut = True
        _, dropped = heapq.heappushpop(self._largest, entry)
        if dropped == value:
            return False
        self.rest.merge(self.rows.pop(dropped))
        return True

    def report(self, by: str, *, max_rows: int = MAX_ROWS) -> CoverageTable:
        """The rows with most items first."""
        ordered = sorted(self.rows.items(), key=_most_first)
        others = Sums()
        others.merge(self.rest)
        for _, sums in ordered[max_rows:]:
            others.merge(sums)
        left_out = len(ordered) - max_rows
        row = None
        if self.is_cut or left_out > 0:
            known = f"{max(0, left_out):,}"
            row = _row(f"more than {known} others" if self.is_cut else f"{known} others", others)
        return CoverageTable(by=by, rows=[_row(*pair) for pair in ordered[:max_rows]], others=row)


def _row(value: Value, sums: Sums) -> CoverageRow:
    return CoverageRow(value=value, counts=sums.report())


def _most_first(pair: tuple[Value, Sums]) -> tuple[int, int, bool, str]:
    value, sums = pair
    return (-sums.items, -sums.sources, value is None, value or "")


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=8).digest())
