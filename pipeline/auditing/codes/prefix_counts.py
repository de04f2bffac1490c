"""Counts bits or values by source prefix, for a bounded number of prefixes; the rest are summed."""

from collections.abc import Iterator, Sequence

import numpy as np

from bitmill.pipeline.auditing.smallest_hashes import SmallestHashes
from bitmill.schemas.arrays import Int64s

MAX_PREFIXES = 256
_OTHERS = 0


class PrefixCounts:
    """Exact counts for up to ``MAX_PREFIXES`` prefixes, the same ones in any order of merging."""

    def __init__(self, num_columns: int) -> None:
        self.counts_SV = np.zeros((1 + MAX_PREFIXES, num_columns), np.int64)
        self.tokens_S = np.zeros(1 + MAX_PREFIXES, np.int64)
        self._rows: dict[str, int] = {}
        self._prefixes = SmallestHashes(MAX_PREFIXES)

    def rows_of(self, prefixes: Sequence[str]) -> Int64s:
        """The row in which each prefix is counted: its own, or the shared one of all others."""
        for prefix in dict.fromkeys(prefixes):
            if prefix not in self._rows:
                self._admit(prefix)
        return np.fromiter((self._rows.get(prefix, _OTHERS) for prefix in prefixes), np.int64, len(prefixes))

    def merge(self, other: "PrefixCounts") -> None:
        """Add another's counts."""
        names = list(other._rows)
        own_rows = self.rows_of(names)
        their_rows = np.array([other._rows[name] for name in names], np.int64)
        # Several prefixes may map to the row of others.
        for mine, theirs in ((self.counts_SV, other.counts_SV), (self.tokens_S, other.tokens_S)):
            np.add.at(mine, own_rows, theirs[their_rows])
            mine[_OTHERS] += theirs[_OTHERS]

    def largest(self, count: int) -> Iterator[tuple[str | None, Int64s, int]]:
        """Yield the prefixes with most tokens, with counts [V] and tokens; last, as None, the rest's sum."""
        tokens = self.tokens_S.tolist()
        ranked = sorted(self._rows, key=lambda prefix: (-tokens[self._rows[prefix]], prefix))
        for prefix in ranked[:count]:
            row = self._rows[prefix]
            yield prefix, self.counts_SV[row], tokens[row]
        rest = np.array([_OTHERS, *(self._rows[prefix] for prefix in ranked[count:])])
        if left := int(self.tokens_S[rest].sum()):
            yield None, self.counts_SV[rest].sum(0), left

    def _admit(self, prefix: str) -> None:
        left_out = self._prefixes.add(prefix)
        if left_out is None:
            self._rows[prefix] = 1 + len(self._rows)
        elif left_out != prefix:
            row = self._rows[prefix] = self._rows.pop(left_out)
            for counts in (self.counts_SV, self.tokens_S):
                counts[_OTHERS] += counts[row]
                counts[row] = 0
