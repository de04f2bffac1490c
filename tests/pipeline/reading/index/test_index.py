"""The index against the shards: row groups stand where the file has them, shapes are the rows'."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.storage import Folder
from tests.support.token_datasets import store_dataset

MIXED = [(4, 2, 2), (4, 2, 2), (1, 3, 3), (2, 2, 2), (2, 2, 2), (2, 2, 2), (16, 1, 1)]


def index_of_runs(*groups: list[tuple[int, int, int, int]]) -> ReadingIndex:
    """An index whose row groups have these runs, all in one shard."""
    num, zeros = len(groups), np.zeros(len(groups), np.int64)
    return ReadingIndex(
        shard_ids=("a",),
        shard_bytes=np.array([100]),
        shard_of=zeros,
        numbers=np.arange(num, dtype=np.int32),
        num_rows=np.array([sum(run[0] for run in runs) for runs in groups], np.int64),
        codes_offset=zeros,
        codes_bytes=zeros,
        compressed=np.zeros(num, np.bool_),
        run_starts=np.concatenate(([0], np.cumsum([len(runs) for runs in groups]))).astype(np.int64),
        runs=np.array([run for runs in groups for run in runs], np.int32).reshape(-1, 4),
    )


RUNS = st.lists(st.tuples(*[st.integers(1, 4)] * 4), min_size=1, max_size=4)


@given(st.lists(RUNS, min_size=1, max_size=4))
def test_shapes_are_those_of_the_runs(groups):
    index = index_of_runs(*groups)
    for number, runs in enumerate(groups):
        assert index.runs_of(number).tolist() == [list(run) for run in runs]
        shapes = [list(grid) for rows, *grid in runs for _ in range(rows)]
        assert index.shapes_of(number).tolist() == shapes
        assert len(shapes) == index.group(number).num_rows


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_an_index_says_what_stands_in_the_shards(tmp_path, compression):
    stored = store_dataset(tmp_path, [MIXED * 2, [], [(1, 1, 1)] * 3], compression=compression)
    folder = Folder(str(tmp_path))
    index = open_index(folder, require_card(folder), allow_incomplete=False)
    assert index.shard_ids == (stored.shards[0].shard_id, stored.shards[2].shard_id)
    number = 0
    for place, shard in enumerate((0, 2)):
        footer, rows = pq.read_metadata(stored.path(shard)), iter(stored.rows[shard])
        for group in range(footer.num_row_groups):
            said = index.group(number)
            assert (said.shard_id, said.number) == (index.shard_ids[place], group)
            assert said.shard_bytes == stored.path(shard).stat().st_size
            assert said.num_rows == footer.row_group(group).num_rows
            assert said.compressed == (compression == "zstd")
            own = [next(rows) for _ in range(said.num_rows)]
            assert index.shapes_of(number).tolist() == [[r.num_frames, r.height, r.width] for r in own]
            if compression == "none":
                data = stored.path(shard).read_bytes()
                chunk = data[said.codes_offset : said.codes_offset + said.codes_bytes]
                values = b"".join(len(row.codes).to_bytes(4, "little") + row.codes for row in own)
                assert chunk.endswith(values)
            number += 1
    assert number == index.num_groups


def test_shapes_are_kept_as_runs(tmp_path):
    store_dataset(tmp_path, [MIXED], row_group_bytes=10**9)
    folder = Folder(str(tmp_path))
    index = open_index(folder, require_card(folder), allow_incomplete=False)
    assert index.runs_of(0).tolist() == [[2, 4, 2, 2], [1, 1, 3, 3], [3, 2, 2, 2], [1, 16, 1, 1]]
