"""Takedown: shards as if the clips had never been, whatever interrupts it; and nothing brings them back."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.planning.append import failed_sources
from bitmill.pipeline.reading import DiskCache, Padding, TokenBatches, TokenDataset
from bitmill.pipeline.removing.check_removed import removed_clips
from bitmill.pipeline.removing.removal_records import load_records
from bitmill.pipeline.removing.run_removal import Request, finish_removals, propose, remove
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError, OutputConflictError, UsageError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.export_inventory import ExportFormat
from tests.support.datasets import make_dataset
from tests.support.fakes import make_source
from tests.support.removals import GivesOut, GivesOutError, asked, files_of, holding, take_down

LENGTHS = [[4, 2], [3, 1, 5], [2], [], [6, 6]]
FAILING = {3: Reason.CORRUPT}


def uri(number: int) -> str:
    return make_source(number).uri


def rows_of(folder: Path) -> list[dict]:
    """All clips of a dataset, in plan order."""
    card = require_card(Folder(str(folder)))
    plan = load_plan(Folder(str(folder)), card)
    paths = [folder / shard_file(shard.shard_id) for shard in plan]
    return [row for path in paths if path.exists() for row in pq.read_table(path).to_pylist()]


def ledger_of(folder: Path) -> dict[str, dict]:
    """Ledger rows by source."""
    plan = load_plan(Folder(str(folder)), require_card(Folder(str(folder))))
    return {row["source"]: row for shard in plan for row in load_ledger(Folder(str(folder)), shard.shard_id)}


def clip_ids(folder: Path) -> list[str]:
    return [row["clip_id"] for row in rows_of(folder)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sources in three shards; the fourth failed."""
    folder = tmp_path_factory.mktemp("stored") / "tokens"
    make_dataset(str(folder), LENGTHS, failing=FAILING)
    return folder


@pytest.fixture
def tokens(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "tokens"))


@pytest.mark.slow
@settings(max_examples=12)
@given(data=st.data(), compression=st.sampled_from(["none", "zstd"]))
def test_a_rewritten_shard_is_as_if_the_clips_had_never_been(data, compression, tmp_path_factory):
    lengths = data.draw(st.lists(st.lists(st.integers(1, 4), max_size=4), min_size=1, max_size=5))
    places = [(item, place) for item, own in enumerate(lengths) for place in range(len(own))]
    gone = data.draw(st.sets(st.sampled_from(places))) if places else set()
    folder = tmp_path_factory.mktemp("law")
    # Row groups of few clips: a clip that goes moves the bounds of all that follow.
    options = {"row_group_bytes": 1024, "grid_size": 8, "compression": compression}
    make_dataset(str(folder / "whole"), lengths, **options)
    make_dataset(str(folder / "never"), lengths, without=gone, **options)
    ids = dict(zip(places, clip_ids(folder / "whole"), strict=True))
    target = Folder(str(folder / "whole"))
    if gone:
        take_down(target, asked(clips=tuple(ids[place] for place in gone)))
    for path in (folder / "never" / "shards").iterdir():
        assert (folder / "whole" / "shards" / path.name).read_bytes() == path.read_bytes()
    losing = {uri(item) for item, _ in gone}
    never = ledger_of(folder / "never")
    told = ("outcome", "reason", "detail")
    for source, row in ledger_of(folder / "whole").items():
        counts = {name: value for name, value in row.items() if name not in told}
        expected = {name: value for name, value in never[source].items() if name not in told}
        assert counts | {"num_source_frames": 0} == expected | {"num_source_frames": 0}
        if source not in losing:
            assert row == never[source]
        else:
            assert (row["outcome"], row["reason"]) == ("partial" if row["num_clips"] else "failed", "removed")
    totals = require_card(target).totals
    assert totals is not None
    assert totals.clips == len(places) - len(gone)
    assert totals.items == len(lengths)


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        asked(uri(0), uri(3)),
        Request(clips=("all of the second",)),
        Request(sources=asked(uri(4)).sources, clips=("all of the second",)),
    ],
)
def test_interrupted_anywhere_and_run_again(stored, tokens, tmp_path, request_):
    ids = tuple(row["clip_id"] for row in rows_of(stored) if row["source"] == uri(1))
    request = Request(sources=request_.sources, clips=ids if request_.clips else ())
    undisturbed = Path(shutil.copytree(stored, tmp_path / "undisturbed"))
    assert take_down(Folder(str(undisturbed)), request) is not None
    expected = files_of(undisturbed)
    assert expected != files_of(stored)
    for at in range(100):
        folder = Path(shutil.copytree(stored, tmp_path / f"killed-{at}"))
        # As a reader had left it.
        TokenDataset(folder).find(ids[0])
        try:
            take_down(GivesOut(str(folder), at), request)
            break
        except GivesOutError:
            pass
        was_recorded = bool(load_records(Folder(str(folder))))
        if at % 2 and was_recorded:
            finish_removals(Folder(str(folder)))
        take_down(Folder(str(folder)), request)
        assert files_of(folder) == expected, at
        # An index of what was would not let this be read.
        assert len(list(TokenDataset(folder))) == len(rows_of(undisturbed))
    assert files_of(folder) == expected
    assert at > 8


def test_removed_ids_are_nowhere_and_all_else_is_as_it_was(stored, tokens):
    gone = [row["clip_id"] for row in rows_of(stored) if row["source"] == uri(1)]
    dataset = TokenDataset(tokens)
    dataset.find(gone[0])
    assert {Path(name).parts[0] for name in holding(tokens, gone[0])} == {"shards"}
    record = take_down(Folder(str(tokens)), asked(uri(1)))
    assert record is not None
    assert record.removal.finished
    assert record.removal.num_clips == len(gone) == 3
    assert not any(list(holding(tokens, clip)) for clip in gone)
    assert rows_of(tokens) == [row for row in rows_of(stored) if row["source"] != uri(1)]
    assert not (tokens / "index.parquet").exists()
    assert not (tokens / ".staging").exists()
    before, after = files_of(stored), files_of(tokens)
    touched = record.removal.shards[0].shard_id
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {
        "dataset.json",
        "plan/part-00000.parquet",
        f"shards/{touched}.parquet",
        f"ledger/{touched}.parquet",
    }
    # A reader that was open does not take one clip for another.
    with pytest.raises(FormatError, match=r"it is not the file that index\.parquet was made from"):
        list(dataset)


def test_captions_of_removed_sources_leave_the_plan_and_others_stay(tokens):
    take_down(Folder(str(tokens)), asked(uri(1)))
    plan = load_plan(Folder(str(tokens)), require_card(Folder(str(tokens))))
    captions = [source.metadata for shard in plan for source in shard.sources]
    assert captions == [None, None, None, '{"caption":"clip 3"}', None]
    assert list(holding(tokens, "clip 1")) == []


def test_a_source_that_gave_nothing_is_marked_so_that_no_retry_reads_it(tokens):
    folder = Folder(str(tokens))
    plan = load_plan(folder, require_card(folder))
    newest = NewestAttempts(plan)

    def retried() -> list[str]:
        found = [failed_sources(s, load_ledger(folder, s.shard_id), newest, frozenset()) for s in plan]
        assert not any(one.members_left_out for one in found)
        return [source.uri for one in found for source in one.sources]

    assert retried() == [uri(3)]
    take_down(folder, asked(uri(3)))
    assert ledger_of(tokens)[uri(3)]["reason"] == "removed"
    assert retried() == []
    take_down(folder, asked(clips=tuple(clip_ids(tokens))))
    assert retried() == []
    totals = require_card(folder).totals
    assert totals is not None
    assert (totals.failed, totals.clips, totals.reasons) == (5, 0, {"removed": 5})
    assert len(TokenDataset(tokens)) == 0


def test_the_same_again_does_nothing_and_asks_for_what_is_not_there_are_refused(tokens):
    folder = Folder(str(tokens))
    gone = clip_ids(tokens)[0]
    take_down(folder, asked(uri(1), clips=(gone,)))
    before = files_of(tokens)
    assert take_down(folder, asked(uri(1), clips=(gone,))) is None
    assert take_down(folder, asked(clips=(gone,))) is None
    assert files_of(tokens) == before
    proposal = propose(folder, asked("/media/other.mp4", clips=("cat",)))
    assert proposal.unknown == ("/media/other.mp4", "cat")
    with pytest.raises(UsageError, match=r"has no /media/other\.mp4"):
        remove(folder, proposal)
    assert proposal.request.without(proposal.unknown) == Request(reason="asked by mail")
    assert files_of(tokens) == before


def test_many_clips_are_found_as_few_are(stored, tmp_path):
    """Few by the reader's index, many by a look into each shard."""
    ids = clip_ids(stored)[:4]
    once, singly = (Path(shutil.copytree(stored, tmp_path / name)) for name in ("once", "singly"))
    take_down(Folder(str(once)), asked(clips=tuple(ids)))
    for clip in ids:
        take_down(Folder(str(singly)), asked(clips=(clip,)))
    shards = [path.name for path in (once / "shards").iterdir()]
    for name in shards:
        for below in ("shards", "ledger"):
            assert (once / below / name).read_bytes() == (singly / below / name).read_bytes()
    assert require_card(Folder(str(once))) == require_card(Folder(str(singly)))
    assert [record.file[9:15] for record in load_records(Folder(str(singly)))] == [
        f"0000{n}-" for n in range(4)
    ]


def test_a_shard_that_a_driver_had_begun_before_is_looked_after(tmp_path):
    tokens = tmp_path / "tokens"
    make_dataset(str(tokens), LENGTHS, leave_out=1)
    folder = Folder(str(tokens))
    proposal = propose(folder, asked(uri(4)))
    assert (proposal.selection.pending_sources, proposal.selection.num_clips) == (1, 0)
    remove(folder, proposal)
    assert require_card(folder).totals is None
    # The driver had read the records before this one was there.
    make_dataset(str(tmp_path / "late"), LENGTHS)
    shard = load_plan(folder, require_card(folder))[-1]
    for below in ("ledger", "shards"):
        shutil.copy(tmp_path / "late" / below / f"{shard.shard_id}.parquet", tokens / below)
    rows = pq.read_table(tokens / shard_file(shard.shard_id)).to_pydict()
    columns = rows["clip_id"], rows["source"], rows["key"]
    known = removed_clips(folder)
    assert known.still_there(shard.shard_id, *columns) == [0, 1]
    assert known.still_counted(load_ledger(folder, shard.shard_id)) == [0]
    assert finish_removals(folder) == []
    (record,) = finish_removals(folder, all_of_them=True)
    assert record.removal.shards[0].clip_ids == rows["clip_id"]
    known = removed_clips(folder)
    assert (known.num_clips, known.unfinished) == (2, ())
    assert known.still_there(shard.shard_id, *columns) == [0, 1]
    assert pq.read_metadata(tokens / shard_file(shard.shard_id)).num_rows == 0
    assert known.still_counted(load_ledger(folder, shard.shard_id)) == []
    assert finish_removals(folder, all_of_them=True) == []


def test_an_interrupted_removal_is_told_and_finished_before_another(tokens):
    folder = Folder(str(tokens))
    with pytest.raises(GivesOutError):
        take_down(GivesOut(str(tokens), 5), asked(uri(0)))
    (name,) = removed_clips(folder).unfinished
    proposal = propose(folder, asked(uri(4)))
    with pytest.raises(UsageError, match="was interrupted; finish it first"):
        remove(folder, proposal)
    assert [record.file for record in finish_removals(folder)] == [name]
    remove(folder, proposal)
    assert removed_clips(folder).unfinished == ()


def test_a_reader_resumes_no_order_of_clips_that_have_gone(tokens):
    options = {"batch_size": 2, "shuffle": True, "seed": 3, "shape": Padding()}
    state = TokenBatches(TokenDataset(tokens), **options).state_dict()
    TokenBatches(TokenDataset(tokens), **options).load_state_dict(state)
    take_down(Folder(str(tokens)), asked(clips=(clip_ids(tokens)[3],)))
    batches = TokenBatches(TokenDataset(tokens), **options)
    with pytest.raises(UsageError, match="The state belongs to other batches"):
        batches.load_state_dict(state)
    assert sum(int(batch["valid"].sum()) for batch in batches) == 6


def test_an_index_of_ids_that_was_left_behind_misleads_nobody(tokens):
    ids = clip_ids(tokens)
    TokenDataset(tokens).find(ids[0])
    left = (tokens / "clip_index.parquet").read_bytes()
    take_down(Folder(str(tokens)), asked(clips=(ids[0],)))
    (tokens / "clip_index.parquet").write_bytes(left)
    dataset = TokenDataset(tokens)
    assert [dataset.find(clip) for clip in ids[1:]] == list(range(len(ids) - 1))


def test_an_export_of_what_was_is_not_taken_for_one_of_what_is(tokens, tmp_path):
    options = {"export_format": ExportFormat.BIN, "max_bytes": 1 << 20}
    export_dataset(str(tokens), str(tmp_path / "out"), **options)
    take_down(Folder(str(tokens)), asked(uri(0)))
    with pytest.raises(OutputConflictError, match="or to this one with other shards or clips"):
        export_dataset(str(tokens), str(tmp_path / "out"), **options)
    result = export_dataset(str(tokens), str(tmp_path / "new"), **options)
    assert result.inventory.contents.clips == len(clip_ids(tokens))


@pytest.mark.s3
def test_on_a_store_and_behind_a_cache(s3, stored, tmp_path):
    folder = Folder(f"{s3}/tokens")
    for name, data in files_of(stored).items():
        folder.write_bytes(name, data)
    cache = DiskCache(folder=str(tmp_path / "cache"))
    columns = ("clip_id",)
    before = {one["clip_id"]: one["tokens"] for one in TokenDataset(folder.uri, columns=columns, cache=cache)}
    gone = next(iter(before))
    take_down(folder, asked(clips=(gone,)))
    local = Path(shutil.copytree(stored, tmp_path / "tokens"))
    take_down(Folder(str(local)), asked(clips=(gone,)))
    for name, data in files_of(local).items():
        if not name.startswith("removals/"):
            assert folder.read_bytes(name) == data, name
    after = {one["clip_id"]: one["tokens"] for one in TokenDataset(folder.uri, columns=columns, cache=cache)}
    assert list(after) == list(before)[1:]
    assert all(after[clip].equal(before[clip]) for clip in after)


def test_a_damaged_record_stops_whoever_relies_on_it(tokens):
    folder = Folder(str(tokens))
    record = take_down(folder, asked(uri(0)))
    assert record is not None
    document = json.loads((tokens / record.file).read_text())
    (tokens / record.file).write_text(json.dumps(document | {"format_version": 2}))
    with pytest.raises(FormatError, match="has removal format 2; this bitmill reads up to 1"):
        removed_clips(folder)
    (tokens / record.file).write_text("{")
    with pytest.raises(FormatError, match=r"is damaged: .* it records what must not come back"):
        removed_clips(folder)


def test_an_open_dataset_does_not_take_another_sources_clips_for_a_removed_ones(tmp_path: Path):
    folder = tmp_path / "tokens"
    make_dataset(str(folder), LENGTHS, failing=FAILING)
    dataset = TokenDataset(str(folder))
    take_down(Folder(str(folder)), asked(clips=(clip_ids(folder)[0],)))
    with pytest.raises(FormatError, match="have changed since it was opened"):
        dataset.of_source(uri(1))
