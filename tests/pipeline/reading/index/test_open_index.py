"""index.parquet: built once, used while it covers the plan, made anew wherever it cannot be trusted."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.dataset.dataset_folder import require_card, write_plan
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.reading.index import open_index as opening
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE
from bitmill.schemas.dataset.reading_index import INDEX_FILE
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from tests.support.fakes import make_job, make_source
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(4, 2, 2)] * 9, [(1, 2, 2), (3, 3, 2)] * 4, [], [(2, 2, 2)] * 5]


@pytest.fixture
def stored(tmp_path) -> StoredDataset:
    return store_dataset(tmp_path, SHAPES)


@pytest.fixture
def footers(monkeypatch) -> list[str]:
    """The shards whose footers are read."""
    read: list[str] = []
    own = opening.index_rows

    def reading(folder, shard_id, tokenizer):
        read.append(shard_id)
        return own(folder, shard_id, tokenizer)

    monkeypatch.setattr(opening, "index_rows", reading)
    return read


def opened(folder: Path, *, allow_incomplete: bool = False) -> ReadingIndex:
    where = Folder(str(folder))
    return open_index(where, require_card(where), allow_incomplete=allow_incomplete)


def same(index: ReadingIndex, other: ReadingIndex) -> bool:
    return all(np.array_equal(getattr(index, name), getattr(other, name)) for name in vars(index))


def ids(stored: StoredDataset, *shards: int) -> list[str]:
    return sorted(stored.shards[shard].shard_id for shard in shards)


def test_footers_are_read_once(stored, footers):
    built = opened(stored.folder)
    assert sorted(footers) == ids(stored, 0, 1, 2, 3)
    data = (stored.folder / INDEX_FILE).read_bytes()
    assert same(opened(stored.folder), built)
    assert len(footers) == 4
    assert (stored.folder / INDEX_FILE).read_bytes() == data


def test_the_same_dataset_gives_the_same_file(stored, tmp_path):
    opened(stored.folder)
    other = store_dataset(tmp_path / "other", SHAPES)
    opened(other.folder)
    assert (stored.folder / INDEX_FILE).read_bytes() == (other.folder / INDEX_FILE).read_bytes()


def test_with_the_index_there_no_shard_is_touched(stored):
    opened(stored.folder)
    for shard in range(4):
        stored.path(shard).unlink()
    assert opened(stored.folder).num_groups == 6


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "short", "flipped", "of another version"])
def test_a_file_that_cannot_be_used_is_made_anew(stored, footers, damage):
    built = opened(stored.folder)
    path = stored.folder / INDEX_FILE
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "garbage":
        path.write_bytes(b"\x93 no Parquet at all" * 40)
    elif damage == "short":
        path.write_bytes(data[:-10])
    elif damage == "flipped":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    else:
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({"bitmill.format_version": "2"}), path)
    footers.clear()
    assert same(opened(stored.folder), built)
    assert sorted(footers) == ids(stored, 0, 1, 2, 3)
    assert path.read_bytes() == data


def test_an_index_of_another_dataset_is_not_believed(stored, tmp_path, footers):
    built = opened(stored.folder)
    data = (stored.folder / INDEX_FILE).read_bytes()
    other = store_dataset(tmp_path / "other", [[(1, 2, 2)] * 3, [(4, 2, 2)]], sources_per_shard=2)
    opened(other.folder)
    (stored.folder / INDEX_FILE).write_bytes((other.folder / INDEX_FILE).read_bytes())
    footers.clear()
    assert same(opened(stored.folder), built)
    assert sorted(footers) == ids(stored, 0, 1, 2, 3)
    assert (stored.folder / INDEX_FILE).read_bytes() == data


def test_an_index_of_another_tokenizer_is_not_believed(stored, tmp_path, footers):
    opened(stored.folder)
    other = store_dataset(tmp_path / "other", SHAPES, tokenizer="e" * 32)
    (other.folder / INDEX_FILE).write_bytes((stored.folder / INDEX_FILE).read_bytes())
    footers.clear()
    opened(other.folder)
    assert sorted(footers) == ids(other, 0, 1, 2, 3)


def test_a_folder_that_cannot_be_written_is_read_all_the_same(stored, footers, monkeypatch):
    """A read-only mount: whoever runs as root may write to a read-only folder, so the write itself fails."""

    def refused(self: Folder, name: str, data: bytes) -> None:
        raise UsageError(
            f"No permission to write to {self.uri}; choose another output or change its permissions."
        )

    monkeypatch.setattr(Folder, "write_bytes", refused)
    indexes = [opened(stored.folder) for _ in range(2)]
    assert same(*indexes)
    assert len(footers) == 8
    assert not (stored.folder / INDEX_FILE).exists()


def test_a_staging_folder_that_cannot_be_made_is_no_hindrance(stored):
    """The real way of writing, refused by a file where the folder would be."""
    (stored.folder / ".staging").rmdir()
    (stored.folder / ".staging").write_bytes(b"")
    assert opened(stored.folder).num_groups == 6
    assert not (stored.folder / INDEX_FILE).exists()


def test_an_unfinished_dataset_is_refused_unless_asked_for(tmp_path):
    stored = store_dataset(tmp_path, SHAPES, leave_out=[1, 3])
    with pytest.raises(UsageError, match="has 2 of 4 shards; run its job again"):
        opened(stored.folder)
    assert opened(stored.folder, allow_incomplete=True).shard_ids == (stored.shards[0].shard_id,)


def test_the_index_of_an_unfinished_dataset_grows_with_it(tmp_path, footers):
    stored = store_dataset(tmp_path, SHAPES, leave_out=[0, 3])
    assert opened(stored.folder, allow_incomplete=True).num_groups == 2
    stored.commit(3)
    footers.clear()
    assert opened(stored.folder, allow_incomplete=True).num_groups == 3
    # A shard without clips has no rows in the index, so its footer is looked at again.
    assert sorted(footers) == ids(stored, 2, 3)
    with pytest.raises(UsageError, match="has 3 of 4 shards"):
        opened(stored.folder)
    stored.commit(0)
    footers.clear()
    whole = opened(stored.folder)
    assert sorted(footers) == ids(stored, 0, 2)
    footers.clear()
    assert same(opened(stored.folder), whole)
    assert footers == []
    # In plan order, whatever the order of commits; and as if it had been built at once.
    (stored.folder / INDEX_FILE).unlink()
    assert same(opened(stored.folder), whole)


def test_an_unfinished_dataset_is_not_written_to_at_every_opening(tmp_path, monkeypatch):
    stored = store_dataset(tmp_path, SHAPES, leave_out=[3])
    written: list[str] = []
    own = Folder.write_bytes

    def writing(self: Folder, name: str, data: bytes) -> None:
        written.append(name)
        own(self, name, data)

    monkeypatch.setattr(Folder, "write_bytes", writing)
    for _ in range(3):
        opened(stored.folder, allow_incomplete=True)
    assert written == [INDEX_FILE]


def test_a_dataset_that_grew_by_a_part_of_the_plan(stored, footers):
    before = opened(stored.folder)
    card_file = stored.folder / DATASET_FILE
    card = json.loads(card_file.read_text())
    job = make_job(sharding={"max_sources": 1})
    more = cut_shards(
        [make_source(90), make_source(91)], job.sharding, card["job_fingerprint"], behind=stored.shards
    )
    part = write_plan(Folder(str(stored.folder)), 1, more)
    card["plan"].append(part.model_dump())
    card_file.write_text(json.dumps(card))
    with pytest.raises(UsageError, match="has 4 of 6 shards"):
        opened(stored.folder)
    footers.clear()
    assert same(opened(stored.folder, allow_incomplete=True), before)
    stored.shards.extend(more)
    stored.rows.extend([stored.rows[3], []])
    stored.commit(4)
    stored.commit(5)
    grown = opened(stored.folder)
    assert grown.shard_ids == (*before.shard_ids, more[0].shard_id)
    footers.clear()
    assert same(opened(stored.folder), grown)
    assert footers == []


def test_files_that_are_not_planned_are_not_the_datasets(stored):
    built = opened(stored.folder)
    (stored.folder / INDEX_FILE).unlink()
    copy = stored.path(0).with_name("0123456789abcdef0123456789abcdef.parquet")
    copy.write_bytes(stored.path(0).read_bytes())
    assert same(opened(stored.folder), built)


def test_a_shard_of_another_tokenizer_is_refused(stored, tmp_path):
    other = store_dataset(tmp_path / "other", SHAPES, tokenizer="e" * 32)
    stored.path(1).write_bytes(other.path(1).read_bytes())
    with pytest.raises(TokenizerMismatchError, match="mixes two datasets"):
        opened(stored.folder)
    assert not (stored.folder / INDEX_FILE).exists()


def test_a_damaged_footer_is_named(stored):
    data = stored.path(1).read_bytes()
    stored.path(1).write_bytes(data[:-20])
    with pytest.raises(FormatError, match=f"{stored.shards[1].shard_id}.parquet is damaged"):
        opened(stored.folder)


def test_a_shard_that_was_rewritten_behind_the_index_is_noticed(stored):
    """Its size gives it away, before any of its bytes are taken for codes."""
    dataset = TokenDataset(stored.folder)
    stored.rows[0].append(stored.rows[0][0])
    stored.commit(0)
    with pytest.raises(FormatError, match=r"Delete index\.parquet if shards were rewritten"):
        dataset[0]
