"""Laws of an audit's tallies: however shards are grouped and merged, along the plan it comes to the same."""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.auditing.check_dataset import look_at_dataset
from bitmill.pipeline.auditing.coverage.histograms import HistogramTally
from bitmill.pipeline.auditing.coverage.next_steps import StepTally
from bitmill.pipeline.auditing.coverage.prefixes import PrefixRule
from bitmill.pipeline.auditing.coverage.sums import Sums
from bitmill.pipeline.auditing.coverage.tables import TableTally
from bitmill.pipeline.auditing.coverage.tally import CoverageLayout, CoverageTally
from bitmill.pipeline.auditing.parallel import LocalProcesses, merge_all
from bitmill.pipeline.auditing.result import ShardsAudit
from bitmill.pipeline.auditing.run_audit import auditor_of
from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.schemas.reports.audit_findings import Kind
from tests.support.audits import AuditedDataset, sound_dataset
from tests.support.coded_datasets import GEOMETRIES

Cuts = st.lists(st.integers(0, 1000), max_size=8)


def merged(parts: Sequence[Any], cuts: Sequence[int]) -> Any:
    """All parts merged, in an association that the numbers choose."""
    left = [copy.deepcopy(part) for part in parts]
    for cut in cuts:
        if len(left) > 1:
            place = cut % (len(left) - 1)
            left[place].merge(left.pop(place + 1))
    while len(left) > 1:
        left[0].merge(left.pop(1))
    return left[0]


def check_law(
    empty: Callable[[], Any],
    take: Callable[[Any, Any], None],
    read: Callable[[Any], Any],
    things: Sequence[Any],
    borders: Sequence[int],
    cuts: Sequence[int],
) -> None:
    """Taking all things up at once comes to the same as merging tallies of runs of them."""
    whole = empty()
    for thing in things:
        take(whole, thing)
    bounds = sorted({0, len(things), *(border % (len(things) + 1) for border in borders)})
    parts: list[Any] = [empty()]
    for first, end in pairwise(bounds):
        part = empty()
        for thing in things[first:end]:
            take(part, thing)
        parts.append(part)
    assert read(merged(parts, cuts)) == read(whole)


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 30))), Cuts, Cuts)
def test_findings(things, borders, cuts):
    def take(tally: FindingTally, thing: tuple[Kind, int]) -> None:
        for number in range(thing[1]):
            tally.note(thing[0], f"detail {number}")

    check_law(FindingTally, take, FindingTally.report, things, borders, cuts)


@given(
    st.lists(st.tuples(st.none() | st.sampled_from("abcdefghijk"), st.integers(0, 5))),
    st.integers(1, 12),
    Cuts,
    Cuts,
)
def test_tables_within_any_bound(things, bound, borders, cuts):
    def take(tally: TableTally, thing: tuple[str | None, int]) -> None:
        tally.add(thing[0], Sums(ok=thing[1], sources=1))

    def read(tally: TableTally) -> Any:
        return tally.report("label", max_rows=5), set(tally.rows), tally.rest

    check_law(lambda: TableTally(max_values=bound), take, read, things, borders, cuts)


@given(st.lists(st.floats(0, 1e6)), Cuts, Cuts)
def test_histograms(things, borders, cuts):
    def take(tally: HistogramTally, thing: float) -> None:
        tally.count(thing)

    check_law(lambda: HistogramTally("item duration"), take, HistogramTally.report, things, borders, cuts)


@given(st.lists(st.integers(0, 9)), Cuts, Cuts)
def test_steps(things, borders, cuts):
    def take(tally: StepTally, thing: int) -> None:
        tally.damaged += 1
        tally.merge(StepTally(damaged_names=[f"{thing}"], shards=thing))

    check_law(StepTally, take, lambda tally: list(tally.sentences(has_totals=True)), things, borders, cuts)


def test_an_empty_coverage_changes_nothing():
    layout = CoverageLayout(prefixes=PrefixRule(1), geometry=GEOMETRIES["digits"], columns=("label",))
    tally = CoverageTally(layout)
    tally.merge(CoverageTally(layout))
    assert tally.total == Sums()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> AuditedDataset:
    """Shards with all sorts of defects."""
    clips = [[16, 9, 3] for _ in range(14)]
    dataset = sound_dataset(tmp_path_factory.mktemp("merge") / "tokens", clips)
    dataset.shard(1).unlink()
    dataset.ledger(2).unlink()
    dataset.flip(dataset.shard(3), column="codes")
    dataset.change_rows(4, lambda rows: rows.append(rows[0]))
    dataset.ledger(5).unlink()
    dataset.shard(5).unlink()
    return dataset


@pytest.mark.slow
@given(cuts=st.lists(st.integers(0, 1000), max_size=7))
def test_shards(dataset: AuditedDataset, cuts: list[int]):
    parts, whole = _audits(dataset)
    assert _read(merged(parts, cuts)) == whole


_kept: dict[Path, tuple[list[ShardsAudit], Any]] = {}


def _audits(dataset: AuditedDataset) -> tuple[list[ShardsAudit], Any]:
    """Each shard's audit, and what an audit of all of them in one go says."""
    if dataset.path not in _kept:
        at_hand = look_at_dataset(dataset.folder, FindingTally())
        auditor = auditor_of(at_hand)
        parts = [auditor.audit([shard]) for shard in at_hand.shards]
        whole = merge_all(auditor, at_hand.shards, LocalProcesses(1), workers=1, on_progress=lambda _: None)
        _kept[dataset.path] = parts, _read(whole)
    return _kept[dataset.path]


def _read(audit: ShardsAudit) -> Any:
    coverage = audit.coverage
    return (
        audit.found.report(),
        coverage.total,
        [table.report(by) for by, table in coverage.tables.items()],
        coverage.failures,
        [histogram.report() for histogram in coverage.histograms.values()],
        list(audit.steps.sentences(has_totals=True)),
        audit.totals,
        (audit.planned, audit.committed, audit.read, audit.clips, audit.code_bytes),
    )
