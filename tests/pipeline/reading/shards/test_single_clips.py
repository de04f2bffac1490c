"""Single clips: found in any row group and page, whatever stands before them; and what damage says."""

import pickle
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading import ClipFilter, TokenBatches, TokenDataset
from bitmill.pipeline.reading.shards.single_clips import SingleClips
from bitmill.schemas.dataset.reading_index import INDEX_FILE
from bitmill.schemas.errors import FormatError
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))


def all_found(dataset: TokenDataset, stored: StoredDataset, *, backwards: bool = False) -> None:
    order = range(len(stored.clips))
    for number in reversed(order) if backwards else order:
        tokens = dataset[number]["tokens"]
        assert np.array_equal(tokens.numpy(), stored.codes(stored.clips[number]))


@settings(max_examples=20)
@given(
    shapes=st.lists(st.lists(SHAPES, max_size=12), min_size=1, max_size=3),
    bits=st.sampled_from([12, 13, 18]),
    row_group_bytes=st.sampled_from([1, 40, 10**6]),
    compression=st.sampled_from(["none", "zstd"]),
    verify=st.sampled_from(["pages", "always", "never"]),
)
def test_every_clip_is_read_by_itself(tmp_path_factory, shapes, bits, row_group_bytes, compression, verify):
    stored = store_dataset(
        tmp_path_factory.mktemp("single"),
        shapes,
        bits_per_token=bits,
        row_group_bytes=row_group_bytes,
        compression=compression,
    )
    dataset = TokenDataset(stored.folder, verify=verify)
    all_found(dataset, stored, backwards=True)
    all_found(pickle.loads(pickle.dumps(dataset)), stored)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_clips_in_several_pages_of_a_row_group(tmp_path, compression):
    shapes = [[(4, 16, 16)] * 400 + [(1, 1, 1), (2, 16, 16)] + [(4, 16, 16)] * 900]
    stored = store_dataset(tmp_path, shapes, row_group_bytes=2**30, compression=compression)
    dataset = TokenDataset(tmp_path, view="packed", where=ClipFilter(min_frames=1))
    for number in (0, 1, 399, 400, 401, 402, 450, 500, 900, 1023, 1024, 1100, 1301):
        assert dataset[number]["tokens"].numpy().tobytes() == stored.clips[number].codes


@pytest.fixture
def stored(tmp_path) -> StoredDataset:
    # Clips of 13 bits: 52 of them and no padding in the first, 39 and one bit of it in the second.
    return store_dataset(tmp_path, [[(1, 2, 2), (3, 1, 1)] * 4], bits_per_token=13, row_group_bytes=10**6)


def place_of(stored: StoredDataset, number: int) -> int:
    """Where a clip's codes begin in the file."""
    codes = stored.clips[number].codes
    return stored.path(0).read_bytes().index(len(codes).to_bytes(4, "little") + codes) + 4


def change(stored: StoredDataset, place: int, bits: int) -> None:
    data = bytearray(stored.path(0).read_bytes())
    data[place] ^= bits
    stored.path(0).write_bytes(bytes(data))


DAMAGED = r"{}\.parquet is damaged in row group 0: a clip's length or padding does not match its shape"


def test_a_clips_length_and_padding_are_looked_at(stored):
    dataset = TokenDataset(stored.folder)
    place, size = place_of(stored, 3), len(stored.clips[3].codes)
    for at, bits in ((place - 4, 1), (place - 1, 128), (place + size - 1, 128)):
        change(stored, at, bits)
        with pytest.raises(FormatError, match=DAMAGED.format(stored.shards[0].shard_id)):
            dataset[3]
        assert np.array_equal(dataset[4]["tokens"].numpy(), stored.codes(stored.clips[4]))
        change(stored, at, bits)
    assert np.array_equal(dataset[3]["tokens"].numpy(), stored.codes(stored.clips[3]))


def test_a_flipped_bit_of_codes_shows_where_checksums_are_asked_for(stored):
    pages, always = TokenDataset(stored.folder), TokenDataset(stored.folder, verify="always")
    change(stored, place_of(stored, 2) + 1, 4)
    assert int((pages[2]["tokens"].numpy() != stored.codes(stored.clips[2])).sum()) == 1
    with pytest.raises(FormatError, match="damaged in row group 0: a page does not match its checksum"):
        always[2]
    # The checksum is that of the page, and so of all its clips.
    with pytest.raises(FormatError, match="a page does not match its checksum"):
        always[5]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> StoredDataset:
    folder = tmp_path_factory.mktemp("changed")
    return store_dataset(folder, [[(1, 2, 2), (3, 1, 1)] * 4], bits_per_token=13)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data(), bits=st.integers(1, 255))
def test_with_checksums_a_changed_byte_never_gives_other_tokens(shared, data, bits):
    dataset = TokenDataset(shared.folder, verify="always")
    iterated = TokenDataset(shared.folder, skip_damaged=True, columns=("clip_id",))
    rows = {row.clip_id: row for row in shared.clips}
    place = data.draw(st.integers(0, shared.path(0).stat().st_size - 1))
    change(shared, place, bits)
    try:
        for number, row in enumerate(shared.clips):
            with suppress(FormatError):
                assert np.array_equal(dataset[number]["tokens"].numpy(), shared.codes(row))
        for sample in iterated:
            assert np.array_equal(sample["tokens"].numpy(), shared.codes(rows[sample["clip_id"]]))
    finally:
        change(shared, place, bits)


def test_a_page_header_that_hides_rows_is_damage(shared):
    place = next(place for place in range(200, 260) if _hides_rows(shared, place))
    change(shared, place, 32)
    try:
        with pytest.raises(FormatError, match=r"row group 0 has \d+ rows instead of 8"):
            list(TokenDataset(shared.folder, columns=("clip_id",)))
        assert list(TokenDataset(shared.folder, skip_damaged=True, columns=("clip_id",))) == []
    finally:
        change(shared, place, 32)


def _hides_rows(stored, place: int) -> bool:
    change(stored, place, 32)
    try:
        return pq.read_table(stored.path(0), columns=["clip_id"]).num_rows < len(stored.clips)
    except (OSError, ValueError):
        return False
    finally:
        change(stored, place, 32)


def test_what_was_found_out_of_row_groups_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("bitmill.pipeline.reading.shards.single_clips._KEPT_GROUPS", 3)
    stored = store_dataset(tmp_path, [[(1, 2, 2)] * 12], row_group_bytes=1)
    dataset = TokenDataset(tmp_path)
    single = SingleClips(dataset.clips, verify=False)
    for _ in range(2):
        for group in range(12):
            codes, start, shape = single.read(group, 0)
            assert codes[start : start + 9].tobytes() == stored.clips[group].codes
            assert shape == (1, 2, 2)
            assert len(single._groups) <= 3


def test_a_shard_that_is_gone_is_named(stored):
    dataset = TokenDataset(stored.folder)
    stored.path(0).unlink()
    with pytest.raises(FormatError, match=rf"{stored.shards[0].shard_id}\.parquet is missing"):
        dataset[0]


def indexed(stored: StoredDataset, rows: int | None = None, codes_offset: int | None = None) -> None:
    """Leave an index that says other things of the first row group: its last run's rows, or its place."""
    TokenDataset(stored.folder)
    path = stored.folder / INDEX_FILE
    table = pq.read_table(path)
    groups = table.to_pylist()
    if rows is not None:
        groups[0]["num_rows"] += rows - groups[0]["run_rows"][-1]
        groups[0]["run_rows"][-1] = rows
    if codes_offset is not None:
        groups[0]["codes_offset"] = codes_offset
    pq.write_table(pa.Table.from_pylist(groups, schema=table.schema), path)


@pytest.mark.parametrize("shape", [(1, 2, 2), (4, 5, 5)])
@pytest.mark.parametrize("rows", [7, 9, 1000])
def test_rows_and_codes_that_disagree_are_damage_by_every_way_of_reading(tmp_path, shape, rows):
    """Small clips above all: where a row fits into a header, the next one's place is a row's, too."""
    stored = store_dataset(tmp_path, [[shape] * 8], bits_per_token=13, row_group_bytes=10**6)
    indexed(stored, rows=rows)
    dataset = TokenDataset(tmp_path)
    assert len(dataset) == rows
    for number in range(rows):
        with pytest.raises(FormatError, match=r"\.parquet is damaged in row group 0: the codes column"):
            dataset[number]
    with pytest.raises(FormatError, match=r"\.parquet is damaged in row group 0"):
        list(dataset)
    with pytest.raises(FormatError, match=r"\.parquet is damaged in row group 0"):
        list(TokenBatches(dataset, batch_size=2))


@pytest.mark.parametrize("codes_offset", [-100, 10**12])
def test_a_place_that_a_shard_does_not_have_is_a_sentence(stored, codes_offset):
    indexed(stored, codes_offset=codes_offset)
    dataset = TokenDataset(stored.folder)
    for read in (lambda: dataset[0], lambda: list(dataset)):
        with pytest.raises(FormatError, match=r"\.parquet has no bytes .* Delete index.parquet"):
            read()
