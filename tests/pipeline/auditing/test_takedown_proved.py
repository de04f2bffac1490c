"""After a takedown the audit is sound, and tells of it; what stays behind, or comes back, is named."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.removing.run_removal import Request, propose, remove
from bitmill.schemas.dataset.removal import REMOVAL_FOLDER, RemovedSource
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import AuditReport
from tests.support.audits import AuditedDataset, sound_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> AuditedDataset:
    return sound_dataset(tmp_path / "tokens")


def take_down(dataset: AuditedDataset, **asked) -> None:
    remove(dataset.folder, propose(dataset.folder, Request(**asked)))


def kinds(report: AuditReport) -> dict[Kind, int]:
    return {one.kind: one.count for one in report.findings}


def test_a_source_that_was_taken_down_is_no_failure_to_be_done_again(dataset: AuditedDataset):
    before = dataset.audit().coverage.total
    gone = dataset.plan[0].sources[0]
    take_down(dataset, sources=(RemovedSource(uri=gone.uri),), reason="asked for by its author")
    report = dataset.audit()
    assert kinds(report) == {}
    assert (report.verdict, report.removals) == ("sound", 3)
    total = report.coverage.total
    assert (total.ok, total.failed, total.clips) == (before.ok - 1, 1, before.clips - 3)
    assert [(row.reason, row.failed) for row in report.coverage.reasons] == [("removed", 1)]
    assert report.coverage.next_steps == []


def test_a_clip_that_was_taken_down_leaves_its_item_in_part(dataset: AuditedDataset):
    clip = pq.read_table(dataset.shard(1)).column("clip_id")[0].as_py()
    take_down(dataset, clips=(clip,))
    report = dataset.audit()
    assert kinds(report) == {}
    assert (report.removals, report.coverage.total.failed + report.coverage.total.partial) == (1, 1)
    assert report.coverage.next_steps == []


def test_a_shard_from_a_copy_brings_a_clip_back_and_is_named(dataset: AuditedDataset):
    shard, ledger = dataset.shard(0).read_bytes(), dataset.ledger(0).read_bytes()
    clip = pq.read_table(dataset.shard(0)).column("clip_id")[1].as_py()
    take_down(dataset, clips=(clip,))
    dataset.shard(0).write_bytes(shard)
    dataset.ledger(0).write_bytes(ledger)
    report = dataset.audit()
    assert Kind.REMOVED_STILL_THERE in kinds(report)
    found = next(one for one in report.findings if one.kind is Kind.REMOVED_STILL_THERE)
    assert (found.count, found.examples[0].detail) == (1, f"clip {clip}")
    assert report.exit_code == 4
    take_down(dataset, clips=(clip,))
    assert kinds(dataset.audit()) == {}


def test_a_removal_that_was_interrupted_is_named(dataset: AuditedDataset):
    gone = dataset.plan[0].sources[0]
    take_down(dataset, sources=(RemovedSource(uri=gone.uri),))
    (record,) = (dataset.path / REMOVAL_FOLDER).glob("*.json")
    record.write_text(record.read_text().replace('"finished": true', '"finished": false'))
    assert kinds(dataset.audit()) == {Kind.REMOVED_STILL_THERE: 1}


def test_a_damaged_record_is_named(dataset: AuditedDataset):
    take_down(dataset, sources=(RemovedSource(uri=dataset.plan[0].sources[0].uri),))
    (record,) = (dataset.path / REMOVAL_FOLDER).glob("*.json")
    record.write_bytes(record.read_bytes()[:40])
    assert kinds(dataset.audit()) == {Kind.UNREADABLE: 1}
