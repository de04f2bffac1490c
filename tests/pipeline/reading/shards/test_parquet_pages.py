"""Pages of codes as pyarrow writes them, through TokenShardWriter: where clips lie, and what damage says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.reading.shards.parquet_pages import find_clips, page_at, pages_of
from bitmill.pipeline.reading.shards.parquet_thrift import read_struct
from bitmill.pipeline.shard.parquet_writer import TokenRow
from tests.support.token_datasets import StoredDataset, store_dataset

MIXED = [(4, 2, 2), (1, 3, 3), (2, 2, 2), (16, 1, 1), (1, 1, 1)]


def chunks_of(path: Path) -> list[tuple[np.ndarray, int]]:
    """The bytes of the codes' chunk of each row group, and its rows."""
    data, footer = path.read_bytes(), pq.read_metadata(path)
    found = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        (codes,) = [
            group.column(place)
            for place in range(group.num_columns)
            if group.column(place).path_in_schema == "codes"
        ]
        chunk = data[codes.data_page_offset : codes.data_page_offset + codes.total_compressed_size]
        found.append((np.frombuffer(chunk, np.uint8), group.num_rows))
    return found


def tokens_of(rows: Sequence[TokenRow]) -> np.ndarray:
    return np.array([row.num_frames * row.height * row.width for row in rows], np.int64)


def check_clips(stored: StoredDataset, *, compressed: bool) -> int:
    """All clips of the first shard are found where they lie; gives the number of pages."""
    rows = iter(stored.rows[0])
    pages = 0
    for chunk, num_rows in chunks_of(stored.path(0)):
        own = [next(rows) for _ in range(num_rows)]
        tokens = tokens_of(own)
        for verify in (True, False):
            codes, starts = find_clips(
                chunk, tokens, stored.bits_per_token, compressed=compressed, verify=verify
            )
            assert (codes is chunk) == (not compressed)
            for start, row in zip(starts, own, strict=True):
                assert codes[start : start + len(row.codes)].tobytes() == row.codes
        pages += len(list(pages_of(chunk.data)))
    assert next(rows, None) is None
    return pages


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("row_group_bytes", [1, 50, 10_000])
def test_clips_are_found_in_every_row_group(tmp_path, compression, row_group_bytes):
    stored = store_dataset(tmp_path, [MIXED * 3], row_group_bytes=row_group_bytes, compression=compression)
    assert check_clips(stored, compressed=compression == "zstd") == len(chunks_of(stored.path(0)))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_clips_are_found_in_several_pages_of_a_chunk(tmp_path, compression):
    stored = store_dataset(tmp_path, [[(4, 16, 16)] * 1300], row_group_bytes=2**30, compression=compression)
    assert len(chunks_of(stored.path(0))) == 1
    assert check_clips(stored, compressed=compression == "zstd") > 1


def test_many_small_clips(tmp_path):
    stored = store_dataset(tmp_path, [[(1, 1, 1)] * 25_000], row_group_bytes=2**30)
    assert check_clips(stored, compressed=False) >= 1


def test_a_header_says_what_pyarrow_wrote(tmp_path):
    stored = store_dataset(tmp_path, [MIXED], row_group_bytes=2**30)
    ((chunk, num_rows),) = chunks_of(stored.path(0))
    page = page_at(chunk.data, 0)
    header, body = read_struct(chunk.data, 0)
    assert (page.num_rows, page.body, body) == (num_rows, len(chunk) - page.stored_bytes, page.body)
    assert page.stored_bytes == page.full_bytes == sum(len(row.codes) + 4 for row in stored.clips)
    assert page.checksum == header[4]


@pytest.fixture
def chunk(tmp_path) -> tuple[np.ndarray, np.ndarray]:
    stored = store_dataset(tmp_path, [MIXED], row_group_bytes=2**30)
    ((chunk, _),) = chunks_of(stored.path(0))
    return chunk, tokens_of(stored.clips)


def test_a_missing_row_is_said(chunk):
    data, tokens = chunk
    with pytest.raises(ValueError, match="the codes column has more than 4 rows"):
        find_clips(data, tokens[:-1], 18, compressed=False, verify=True)
    with pytest.raises(ValueError, match="the codes column has 5 of 6 rows"):
        find_clips(data, np.append(tokens, 3), 18, compressed=False, verify=True)


def test_sizes_in_another_order_are_said(chunk):
    data, tokens = chunk
    with pytest.raises(ValueError, match="the lengths of a page's codes do not match"):
        find_clips(data, tokens[::-1], 18, compressed=False, verify=True)


def test_a_flipped_bit_of_codes_is_said_where_it_is_looked_for(chunk):
    data, tokens = chunk
    damaged = data.copy()
    damaged[-1] ^= 1
    with pytest.raises(ValueError, match="does not match its checksum"):
        find_clips(damaged, tokens, 18, compressed=False, verify=True)
    codes, starts = find_clips(damaged, tokens, 18, compressed=False, verify=False)
    assert (codes is damaged, len(starts)) == (True, len(tokens))


def test_a_chunk_cut_short_is_said(chunk):
    data, tokens = chunk
    for end in (len(data) - 1, len(data) // 2, 30):
        with pytest.raises(ValueError, match="past its column chunk"):
            find_clips(data[:end], tokens, 18, compressed=False, verify=True)
    for end in (1, 5, 15):
        with pytest.raises(ValueError, match="not a Thrift struct"):
            find_clips(data[:end], tokens, 18, compressed=False, verify=True)
    with pytest.raises(ValueError, match="has 0 of 5 rows"):
        find_clips(data[:0], tokens, 18, compressed=False, verify=True)


def test_a_page_of_another_kind_is_said(tmp_path, chunk):
    stored = store_dataset(tmp_path / "other", [MIXED])
    table = pq.read_table(stored.path(0), columns=["codes"])
    _, tokens = chunk
    for options in (
        {"use_dictionary": True},
        {"use_dictionary": False, "data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": {"codes": "DELTA_LENGTH_BYTE_ARRAY"}},
    ):
        path = tmp_path / "other.parquet"
        pq.write_table(table, path, compression="none", **options)
        ((data, _),) = chunks_of(path)
        with pytest.raises(ValueError, match="not a PLAIN data page"):
            find_clips(data, tokens, 18, compressed=False, verify=True)
