"""docs/audit.md says of each kind of finding what the code says, and names the command's options."""

import re

from typer.main import get_command

from bitmill.jobs.cli import app
from bitmill.pipeline.auditing.coverage.tables import MAX_ROWS, MAX_VALUES
from bitmill.pipeline.auditing.coverage.tally import MAX_FAILURES, OWN_TABLES
from bitmill.pipeline.auditing.shard.findings import MAX_EXAMPLES
from bitmill.schemas.reports.audit_findings import KIND_SEVERITY, KIND_TEXT, Kind
from tests.support.commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "audit.md").read_text()


def test_findings_are_told_as_the_code_has_them():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(kind.value, KIND_SEVERITY[kind].value, text) for kind, text in KIND_TEXT.items()]
    assert set(KIND_TEXT) == set(Kind)


def test_options_are_those_of_the_command():
    told = set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))
    command = get_command(app).commands["audit"]  # type: ignore[attr-defined]
    given = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert told == given - {"--help"}


def test_bounds_and_tables_are_those_of_the_code():
    assert (MAX_ROWS, MAX_EXAMPLES) == (100, 20)
    for word in (
        f"{MAX_VALUES:,} values",
        f"{MAX_FAILURES:,} in plan order",
        *(f"`{by}`" for by in OWN_TABLES),
    ):
        assert word in PAGE
