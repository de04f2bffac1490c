"""Tallies an audit's findings: counts all, keeps the first of each kind as examples."""

from dataclasses import dataclass, field

from bitmill.schemas.reports.audit_findings import KIND_SEVERITY, Finding, Findings, Kind, Severity

MAX_EXAMPLES = 20
MAX_DETAIL = 500
"""Maximum characters of a detail and of a place; both may quote foreign text."""

_WORST_FIRST = (Severity.DAMAGED, Severity.INCOMPLETE, Severity.NOTE)


@dataclass
class FindingTally:
    """Findings by kind. Merged in plan order, so the examples are the first in that order."""

    counts: dict[Kind, int] = field(default_factory=dict[Kind, int])
    examples: dict[Kind, list[Finding]] = field(default_factory=dict[Kind, list[Finding]])

    def note(
        self, kind: Kind, detail: str, *, file: str | None = None, where: str | None = None, count: int = 1
    ) -> None:
        """Add ``count`` findings with this example."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < MAX_EXAMPLES:
            kept.append(Finding(file=file, where=_short(where), detail=_short(detail) or ""))

    def merge(self, other: "FindingTally") -> None:
        """Add the findings of the following shards."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            kept = self.examples.setdefault(kind, [])
            kept.extend(other.examples[kind][: MAX_EXAMPLES - len(kept)])

    def __contains__(self, kind: Kind) -> bool:
        return kind in self.counts

    def report(self) -> list[Findings]:
        """All kinds that were found, worst first, then in the order of ``Kind``."""
        found = [
            Findings(
                kind=kind, severity=KIND_SEVERITY[kind], count=self.counts[kind], examples=self.examples[kind]
            )
            for kind in sorted(self.counts, key=list(Kind).index)
        ]
        return sorted(found, key=lambda one: _WORST_FIRST.index(one.severity))


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_DETAIL:
        return text
    return text[: MAX_DETAIL - 1] + "…"
