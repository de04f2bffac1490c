"""Coverage by one property: one row per value up to a bound, the rest summed."""

from bitmill.pipeline.auditing.coverage.sums import Sums
from bitmill.pipeline.auditing.smallest_hashes import SmallestHashes
from bitmill.schemas.reports.audit_report import CoverageRow, CoverageTable

MAX_VALUES = 4096
"""Maximum number of values with their own row."""
MAX_ROWS = 100
MAX_VALUE_CHARACTERS = 200

Value = str | None


class TableTally:
    """Sums by value: None has its own row, and so do at most ``max_values`` others; the rest are summed."""

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self.rows: dict[Value, Sums] = {}
        self.rest = Sums()
        self.is_cut = False
        """True if some values are in ``rest``."""
        self._values = SmallestHashes(max_values)

    def add(self, value: Value, sums: Sums) -> None:
        """Add to a value's row."""
        value = value if value is None else value[:MAX_VALUE_CHARACTERS]
        if value not in self.rows:
            self.rows[value] = Sums()
            if value is not None and (left_out := self._values.add(value)) is not None:
                self.is_cut = True
                self.rest.merge(self.rows.pop(left_out))
        self.rows.get(value, self.rest).merge(sums)

    def merge(self, other: "TableTally") -> None:
        """Add another's sums."""
        self.is_cut |= other.is_cut
        self.rest.merge(other.rest)
        for value, sums in other.rows.items():
            self.add(value, sums)

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
