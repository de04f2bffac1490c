"""clip_index.parquet: from an id to a clip; built once, and again wherever it cannot be trusted."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.reading.index import clip_lookup
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.reading_index import CLIP_INDEX_FILE
from bitmill.schemas.errors import FormatError, UsageError
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(4, 2, 2)] * 9, [(1, 2, 2), (3, 2, 2)] * 4, [], [(2, 2, 2)] * 5]


@pytest.fixture
def stored(tmp_path) -> StoredDataset:
    return store_dataset(tmp_path, SHAPES)


@pytest.fixture
def builds(monkeypatch) -> list[str]:
    """An entry for each time that the ids of a dataset are read."""
    built: list[str] = []
    own = clip_lookup.ClipFinder._built

    def building(self: clip_lookup.ClipFinder):
        built.append(self._folder.uri)
        return own(self)

    monkeypatch.setattr(clip_lookup.ClipFinder, "_built", building)
    return built


def found(dataset: TokenDataset, stored: StoredDataset) -> bool:
    """Whether every clip is found where it is."""
    return [dataset.find(row.clip_id) for row in stored.clips] == list(range(len(stored.clips)))


def test_every_clip_is_found_and_ids_are_read_once(stored, builds):
    assert found(TokenDataset(stored.folder), stored)
    assert len(builds) == 1
    data = (stored.folder / CLIP_INDEX_FILE).read_bytes()
    assert found(TokenDataset(stored.folder), stored)
    assert len(builds) == 1
    assert (stored.folder / CLIP_INDEX_FILE).read_bytes() == data


def test_an_index_of_many_row_groups(stored, monkeypatch, builds):
    monkeypatch.setattr(clip_lookup, "_GROUP_ROWS", 4)
    assert found(TokenDataset(stored.folder), stored)
    assert pq.read_metadata(stored.folder / CLIP_INDEX_FILE).num_row_groups == 6
    assert found(TokenDataset(stored.folder), stored)
    assert len(builds) == 1


@pytest.mark.parametrize("group_rows", [1, 2, 100])
def test_ids_that_begin_alike_are_told_apart(stored, monkeypatch, group_rows):
    monkeypatch.setattr(clip_lookup, "_GROUP_ROWS", group_rows)
    prefixes = ["f" * 16, "0" * 16, "8000000000000000", "8000000000000000", "8000000000000000"]
    stored.rows[3] = [
        replace(row, clip_id=f"{prefix}{place:016x}")
        for place, (row, prefix) in enumerate(zip(stored.rows[3], prefixes, strict=True))
    ]
    stored.commit(3)
    for _ in range(2):
        assert found(TokenDataset(stored.folder), stored)


@pytest.mark.parametrize(
    "clip_id", ["", "cat", "0" * 32, "f" * 32, "-1", "-" + "f" * 31, "+" + "f" * 31, " 1", "1_0", "é" * 32]
)
def test_an_id_that_is_not_there(stored, clip_id):
    dataset = TokenDataset(stored.folder)
    for _ in range(2):
        with pytest.raises(KeyError, match=re.escape(repr(clip_id))):
            dataset.find(clip_id)


def test_an_id_must_be_whole(stored):
    with pytest.raises(KeyError, match=stored.clips[3].clip_id[:20]):
        TokenDataset(stored.folder).find(stored.clips[3].clip_id[:20])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"no Parquet at all"),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "a flipped bit of a page": lambda path: flip(path, 60),
    "a flipped bit of the footer's length": lambda path: flip(path, -6),
    "another version": lambda path: pq.write_table(
        pq.read_table(path).replace_schema_metadata({"bitmill.format_version": "2"}), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("opened_before", [False, True])
def test_a_file_that_cannot_be_used_is_made_anew(stored, builds, damage, opened_before):
    assert found(TokenDataset(stored.folder), stored)
    data = (stored.folder / CLIP_INDEX_FILE).read_bytes()
    dataset = TokenDataset(stored.folder)
    if opened_before:
        assert found(dataset, stored)
    DAMAGE[damage](stored.folder / CLIP_INDEX_FILE)
    assert found(dataset, stored)
    assert len(builds) == 2
    if not (opened_before and damage == "another version"):
        assert (stored.folder / CLIP_INDEX_FILE).read_bytes() == data


def test_readers_of_other_shards_do_not_mislead_each_other(tmp_path, builds):
    """While one reads what was there, the dataset grows, and another looks for a clip in all of it."""
    stored = store_dataset(tmp_path, SHAPES, leave_out=[0])
    first = TokenDataset(stored.folder, allow_incomplete=True)
    known = stored.rows[1] + stored.rows[3]
    assert [first.find(row.clip_id) for row in known] == list(range(len(known)))
    stored.commit(0)
    second = TokenDataset(stored.folder)
    assert found(second, stored)
    for _ in range(2):
        assert [first.find(row.clip_id) for row in known] == list(range(len(known)))
        assert found(second, stored)
    assert len(builds) == 3


def test_a_folder_that_cannot_be_written(stored, builds, monkeypatch):
    def refused(self: Folder, name: str, data: bytes) -> None:
        raise UsageError(
            f"No permission to write to {self.uri}; choose another output or change its permissions."
        )

    dataset = TokenDataset(stored.folder)
    monkeypatch.setattr(Folder, "write_bytes", refused)
    for _ in range(2):
        assert found(dataset, stored)
    assert len(builds) == 1
    assert not (stored.folder / CLIP_INDEX_FILE).exists()


def test_a_damaged_shard_is_named(stored):
    dataset = TokenDataset(stored.folder)
    path = stored.path(1)
    data = path.read_bytes()
    # The ids are the first column, whose pages come first.
    path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    with pytest.raises(FormatError, match=rf"{stored.shards[1].shard_id}\.parquet is damaged"):
        dataset.find(stored.clips[0].clip_id)


def test_sources_of_several_shards_and_row_groups(tmp_path):
    stored = store_dataset(tmp_path, SHAPES, sources_per_shard=3, row_group_bytes=20)
    dataset = TokenDataset(stored.folder)
    for number in range(12):
        source = f"/media/{number:04d}.mp4"
        own = [place for place, row in enumerate(stored.clips) if row.source == source]
        assert dataset.of_source(source) == own
    # Planned, and without clips.
    assert dataset.of_source("/media/0007.mp4") == []


def test_sources_of_an_unfinished_dataset(tmp_path):
    stored = store_dataset(tmp_path, SHAPES, leave_out=[0])
    dataset = TokenDataset(stored.folder, allow_incomplete=True)
    assert dataset.of_source("/media/0000.mp4") == []
    assert dataset.of_source("/media/0001.mp4") == list(range(8))
