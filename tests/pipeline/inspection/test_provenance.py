"""From any name of a sample to its source, and from a source to all that became of it."""

from pathlib import Path

import pytest

from bitmill.pipeline.inspection.provenance import Tracer
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import UsageError
from bitmill.schemas.outcomes import Reason
from tests.support.datasets import make_dataset
from tests.support.fakes import make_source
from tests.support.removals import asked, take_down

LENGTHS = [[4, 2], [3, 1, 5], [], [2] * 30, [6]]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced") / "tokens"
    make_dataset(str(folder), LENGTHS, row_group_bytes=1024, grid_size=8, failing={2: Reason.CORRUPT})
    return folder


@pytest.mark.slow
def test_each_name_of_a_sample_leads_to_the_same_trace(tokens):
    tracer = Tracer(Folder(str(tokens)))
    columns = ("clip_id", "source", "start_ns", "frame_pts_ns", "metadata")
    row, shard = 0, ""
    for index, sample in enumerate(TokenDataset(tokens, columns=columns)):
        trace = tracer.sample(index)
        clip = trace.clip
        row, shard = (row + 1 if clip.shard_id == shard else 0), clip.shard_id
        assert (clip.index, clip.row, clip.file) == (index, row, shard_file(shard))
        sample["frame_pts_ns"] = sample["frame_pts_ns"].tolist()
        assert {name: clip.columns[name] for name in columns} == {name: sample[name] for name in columns}
        assert clip.code_bytes == len(sample["tokens"]) * 64 * 18 // 8
        assert trace.plan_row.source.uri == trace.ledger_row["source"] == sample["source"]
        assert trace.plan_row.source_index == trace.ledger_row["source_index"]
        assert tracer.clip(sample["clip_id"]) == trace
        assert tracer.row(shard, row) == tracer.row(str(tokens / clip.file), row) == trace
    assert clip.row_group == 0
    assert tracer.sample(20).clip.row_group > 0


def test_a_source_leads_to_its_clips_in_order_and_to_its_outcome(tokens):
    tracer = Tracer(Folder(str(tokens)))
    for number, lengths in enumerate(LENGTHS):
        found = tracer.source(make_source(number).uri)
        assert [clip.columns["num_frames"] for clip in found.clips] == lengths
        assert [clip.index for clip in found.clips] == TokenDataset(tokens).of_source(found.source)
        (plan_row,), (ledger_row,) = found.plan_rows, found.ledger_rows
        assert (plan_row.source_index, plan_row.is_committed) == (number, True)
        assert plan_row.source.version == f"v{number}"
        assert ledger_row["num_clips"] == len(lengths)
    assert tracer.source(make_source(2).uri).ledger_rows[0]["reason"] == "corrupt"


def test_a_source_of_a_shard_to_come_is_told(tmp_path):
    make_dataset(str(tmp_path), LENGTHS, leave_out=1)
    found = Tracer(Folder(str(tmp_path))).source(make_source(4).uri)
    assert (found.clips, found.ledger_rows, found.plan_rows[0].is_committed) == ([], [], False)


def test_what_was_taken_down_is_told_as_such(tmp_path):
    make_dataset(str(tmp_path), LENGTHS)
    folder = Folder(str(tmp_path))
    gone = Tracer(folder).sample(0).clip.columns["clip_id"]
    record = take_down(folder, asked(make_source(0).uri))
    assert record is not None
    with pytest.raises(UsageError, match=f"{gone} was removed on {record.removal.removed_on}, as .*json"):
        Tracer(folder).clip(gone)
    found = Tracer(folder).source(make_source(0).uri)
    assert (found.clips, found.ledger_rows[0]["reason"]) == ([], "removed")
    assert found.removals == [record]


def test_unknown_names_are_sentences(tokens):
    tracer = Tracer(Folder(str(tokens)))
    shard = tracer.sample(0).clip.shard_id
    asking = [
        (lambda: tracer.clip("cat"), "has no clip cat"),
        (lambda: tracer.sample(36), "has no sample 36; it has 36, counted from 0"),
        (lambda: tracer.sample(-1), "has no sample -1"),
        (lambda: tracer.row("cat", 0), "has no committed shard cat with clips"),
        (lambda: tracer.row(shard, 5), "has no row 5; it has 5, counted from 0"),
        (lambda: tracer.source("/cat"), "has no source /cat in its plan"),
        (
            lambda: tracer.source(f"/cwd/{Path(make_source(0).uri).name}"),
            f"did you mean '{make_source(0).uri}'",
        ),
        (lambda: tracer.source(make_source(0).uri, "k"), "No committed shard has a member k"),
    ]
    for ask, message in asking:
        with pytest.raises(UsageError, match=message):
            ask()
