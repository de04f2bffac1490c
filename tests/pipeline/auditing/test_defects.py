"""Each defect, planted in a sound dataset, is found under its own name, and nothing else is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.auditing.shard.findings import MAX_EXAMPLES
from bitmill.schemas.dataset.card import PLAN_FOLDER, SHARD_FOLDER
from bitmill.schemas.reports.audit_findings import Kind
from tests.support.audits import AuditedDataset, Rows, sound_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> AuditedDataset:
    return sound_dataset(tmp_path / "tokens")


def swap(first: Path, second: Path) -> None:
    ours, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(ours)


def test_a_sound_dataset_shows_nothing(dataset: AuditedDataset):
    report = dataset.audit()
    assert report.findings == []
    assert (report.verdict, report.exit_code) == ("sound", 0)
    assert (report.shards_planned, report.shards_committed, report.shards_read) == (3, 3, 3)
    assert report.coverage.next_steps == []


def test_a_lost_shard(dataset: AuditedDataset):
    dataset.shard(1).unlink()
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.MISSING_SHARD: 1}
    assert (report.verdict, report.exit_code) == ("incomplete", 3)
    assert report.coverage.total.pending == 2
    assert report.coverage.next_steps == ["Running the job again does 1 shard with 2 sources of 2,000 bytes."]


def test_a_shard_that_is_not_done_yet(dataset: AuditedDataset):
    dataset.shard(2).unlink()
    dataset.ledger(2).unlink()
    assert dataset.found() == {Kind.PENDING_SHARD: 1}


def test_a_lost_ledger(dataset: AuditedDataset):
    dataset.ledger(0).unlink()
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.MISSING_LEDGER: 1}
    assert report.exit_code == 4
    assert f"{SHARD_FOLDER}/{dataset.plan[0].shard_id}.parquet" in report.coverage.next_steps[0]


def test_a_lost_plan(dataset: AuditedDataset):
    (dataset.path / dataset.card.plan[0].file).unlink()
    assert dataset.found() == {Kind.MISSING_PLAN: 1}


def test_a_plan_of_other_sources(dataset: AuditedDataset):
    path = dataset.path / dataset.card.plan[0].file
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["version"] = "another"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert dataset.found() == {Kind.MISSING_PLAN: 1}


def test_a_lost_tokenizer(dataset: AuditedDataset):
    (dataset.path / "tokenizer" / "model.safetensors").unlink()
    assert dataset.found() == {Kind.MISSING_TOKENIZER: 1}


def test_weights_with_a_flipped_bit(dataset: AuditedDataset):
    path = dataset.path / "tokenizer" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)
    assert dataset.found() == {Kind.MISSING_TOKENIZER: 1}


def test_foreign_files_are_only_noted(dataset: AuditedDataset):
    for below in (SHARD_FOLDER, "ledger", PLAN_FOLDER):
        (dataset.path / below / "notes.txt").write_text("mine")
    (dataset.path / "index.parquet").write_text("a reader's")
    (dataset.path / "status.json").write_text("a driver's")
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.FOREIGN_FILE: 3}
    assert (report.verdict, report.exit_code) == ("sound", 0)


@pytest.mark.parametrize("column", ["codes", "source", "start_ns", "frame_pts_ns", "metadata", "clip_id"])
def test_a_flipped_bit_in_a_shard(dataset: AuditedDataset, column: str):
    dataset.flip(dataset.shard(0), column=column, group=1)
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.BAD_CHECKSUM: 1}
    example = report.findings[0].examples[0]
    assert example.file == f"{SHARD_FOLDER}/{dataset.plan[0].shard_id}.parquet"
    assert example.where == "row group 1"
    assert repr(column) in example.detail
    assert report.shards_read == 2


def test_a_flipped_bit_in_a_ledger(dataset: AuditedDataset):
    dataset.flip(dataset.ledger(1), column="num_tokens")
    assert dataset.found() == {Kind.BAD_CHECKSUM: 1}


def test_a_flipped_bit_in_a_plan(dataset: AuditedDataset):
    dataset.flip(dataset.path / dataset.card.plan[0].file, column="uri")
    assert dataset.found() == {Kind.BAD_CHECKSUM: 1}


@pytest.mark.parametrize("kept", [0, 3, 100, -1, -200])
def test_a_truncated_shard(dataset: AuditedDataset, kept: int):
    path = dataset.shard(2)
    path.write_bytes(path.read_bytes()[:kept])
    assert dataset.found() == {Kind.UNREADABLE: 1}


def test_a_truncated_ledger(dataset: AuditedDataset):
    path = dataset.ledger(2)
    path.write_bytes(path.read_bytes()[:-9])
    assert dataset.found() == {Kind.UNREADABLE: 1}


def test_other_columns(dataset: AuditedDataset):
    path = dataset.shard(0)
    pq.write_table(pq.read_table(path).drop_columns(["fps"]), path)
    assert dataset.found() == {Kind.WRONG_SCHEMA: 1}


def test_exchanged_shards(dataset: AuditedDataset):
    swap(dataset.shard(0), dataset.shard(2))
    assert dataset.found() == {Kind.WRONG_SHARD: 2}


def test_exchanged_ledgers(dataset: AuditedDataset):
    swap(dataset.ledger(0), dataset.ledger(2))
    assert dataset.found() == {Kind.WRONG_SHARD: 2}


def nothing(_rows: Rows) -> None:
    pass


def test_another_tokenizer(dataset: AuditedDataset):
    dataset.change_rows(1, nothing, metadata={"tokenizer_fingerprint": "a" * 32})
    assert dataset.found() == {Kind.WRONG_TOKENIZER: 1}


def test_another_job(dataset: AuditedDataset):
    dataset.change_rows(1, nothing, metadata={"job_fingerprint": "b" * 32})
    assert dataset.found() == {Kind.WRONG_JOB: 1}


@pytest.mark.parametrize("field", ["tokenizer_fingerprint", "job_fingerprint"])
def test_a_card_that_names_another(dataset: AuditedDataset, field: str):
    dataset.change_card(**{field: "c" * 32})
    expected = {"tokenizer_fingerprint": Kind.WRONG_TOKENIZER, "job_fingerprint": Kind.WRONG_JOB}
    assert dataset.found() == {expected[field]: 1}


def test_a_bug_is_not_told_as_damage(dataset: AuditedDataset):
    class Broken:
        def add(self, group: object) -> None:
            raise KeyError("a bug")

        def merge(self, other: object) -> None: ...

    with pytest.raises(KeyError, match="a bug"):
        dataset.audit(collectors={"broken": Broken})


def test_rewriting_a_shard_alone_is_no_defect(dataset: AuditedDataset):
    dataset.change_rows(0, nothing)
    assert dataset.found() == {}


def test_a_row_twice(dataset: AuditedDataset):
    dataset.change_rows(0, lambda rows: rows.insert(1, rows[0]))
    assert dataset.found() == {Kind.DUPLICATE_CLIP: 1}


def test_a_row_again_at_the_end(dataset: AuditedDataset):
    dataset.change_rows(0, lambda rows: rows.append(rows[0]))
    assert dataset.found() == {Kind.DUPLICATE_CLIP: 1}


def test_rows_out_of_order(dataset: AuditedDataset):
    def swap_rows(rows: Rows) -> None:
        rows[0], rows[1] = rows[1], rows[0]

    dataset.change_rows(0, swap_rows)
    assert dataset.found() == {Kind.OUT_OF_ORDER: 1}


def test_sources_out_of_order(dataset: AuditedDataset):
    dataset.change_rows(1, lambda rows: rows.insert(0, rows.pop()))
    assert dataset.found() == {Kind.OUT_OF_ORDER: 1}


def test_a_lost_row(dataset: AuditedDataset):
    dataset.change_rows(0, lambda rows: rows.pop(1))
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.COUNTS_DIFFER: 1}
    assert report.findings[0].examples[0].where == dataset.plan[0].sources[0].uri


def test_overlapping_spans(dataset: AuditedDataset):
    def lengthen(rows: Rows) -> None:
        rows[0]["end_ns"] += 1

    dataset.change_rows(0, lengthen)
    assert dataset.found() == {Kind.OVERLAPPING_SPANS: 1}


def test_a_span_that_ends_before_it_begins(dataset: AuditedDataset):
    def turn(rows: Rows) -> None:
        rows[1]["end_ns"] = rows[1]["start_ns"]

    dataset.change_rows(0, turn)
    assert dataset.found() == {Kind.SPAN_OUTSIDE_SOURCE: 1}


def test_a_clip_that_ends_early(dataset: AuditedDataset):
    def shorten(rows: Rows) -> None:
        rows[0]["end_ns"] -= 1

    dataset.change_rows(0, shorten)
    assert dataset.found() == {Kind.COUNTS_DIFFER: 1}


@pytest.mark.parametrize(("column", "value"), [("clip_id", "0" * 32), ("start_ns", 77), ("key", "a.mp4")])
def test_an_id_of_something_else(dataset: AuditedDataset, column: str, value: object):
    def alter(rows: Rows) -> None:
        rows[1][column] = value

    dataset.change_rows(0, alter)
    assert dataset.found() == {Kind.WRONG_CLIP_ID: 1}


def test_a_source_that_is_not_planned(dataset: AuditedDataset):
    def alter(rows: Rows) -> None:
        rows[1]["source"] = "/media/unknown.mp4"

    dataset.change_rows(0, alter)
    assert dataset.found() == {Kind.UNPLANNED_SOURCE: 1}


def test_codes_that_are_too_short(dataset: AuditedDataset):
    def cut(rows: Rows) -> None:
        rows[1]["codes"] = rows[1]["codes"][:-1]

    dataset.change_rows(0, cut)
    report = dataset.audit()
    assert {one.kind: one.count for one in report.findings} == {Kind.WRONG_CODES_LENGTH: 1}
    assert report.findings[0].examples[0].where == "row group 0, row 1 of it"


def test_frames_without_times(dataset: AuditedDataset):
    def forget(rows: Rows) -> None:
        rows[1]["frame_pts_ns"] = rows[1]["frame_pts_ns"][:-1]
        rows[2]["frame_pts_ns"] = rows[2]["frame_pts_ns"][::-1]

    dataset.change_rows(0, forget)
    assert dataset.found() == {Kind.WRONG_SCHEMA: 2}


@pytest.mark.parametrize("column", ["num_clips", "num_frames", "num_tokens", "code_bytes", "tokenized_ns"])
def test_other_counts_in_the_ledger(dataset: AuditedDataset, column: str):
    def alter(rows: Rows) -> None:
        rows[1][column] += 1

    dataset.change_ledger(0, alter)
    assert dataset.found() == {Kind.COUNTS_DIFFER: 1}


def test_an_outcome_that_its_counts_deny(dataset: AuditedDataset):
    def alter(rows: Rows) -> None:
        rows[0]["outcome"] = "failed"

    dataset.change_ledger(0, alter)
    assert Kind.COUNTS_DIFFER in dataset.found()


def test_a_source_without_a_ledger_row(dataset: AuditedDataset):
    dataset.change_ledger(0, lambda rows: rows.pop())
    assert dataset.found() == {Kind.ACCOUNTS: 1}


def test_a_ledger_row_of_another_source(dataset: AuditedDataset):
    def alter(rows: Rows) -> None:
        rows[0]["source"] = "/media/other.mp4"

    dataset.change_ledger(0, alter)
    assert dataset.found() == {Kind.ACCOUNTS: 1}


def test_other_totals(dataset: AuditedDataset):
    totals = dataset.card.totals
    assert totals is not None
    dataset.change_card(totals=totals.model_copy(update={"frames": totals.frames + 1}))
    assert dataset.found() == {Kind.TOTALS_DIFFER: 1}


def test_examples_are_bounded_and_counts_are_not(dataset: AuditedDataset):
    for number in range(MAX_EXAMPLES + 7):
        (dataset.path / SHARD_FOLDER / f"{number:02d}.tmp").touch()
    (findings,) = dataset.audit().findings
    assert findings.count == MAX_EXAMPLES + 7
    assert len(findings.examples) == MAX_EXAMPLES
