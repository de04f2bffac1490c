"""The verdict of an audit, by its worst finding, and the exit code."""

from collections.abc import Iterable
from typing import Literal

from bitmill.schemas.reports.audit_findings import Findings, Severity
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK

EXIT_DAMAGED = 4

Verdict = Literal["sound", "incomplete", "damaged"]


def verdict_of(findings: Iterable[Findings]) -> tuple[Verdict, int]:
    """The verdict and its exit code."""
    worst = {one.severity for one in findings}
    if Severity.DAMAGED in worst:
        return "damaged", EXIT_DAMAGED
    if Severity.INCOMPLETE in worst:
        return "incomplete", EXIT_NOT_ALL_OK
    return "sound", EXIT_COMPLETE
