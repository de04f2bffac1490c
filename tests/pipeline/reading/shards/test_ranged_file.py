"""A shard as a file: what is read at any place is what stands there; pyarrow opens it."""

import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.shards.ranged_file import RangedFile
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from tests.support.token_datasets import store_dataset


@dataclass
class Bytes:
    """Stands for the files of a dataset whose one shard has these bytes."""

    data: bytes
    asked: list[tuple[int, int]] = field(default_factory=list)

    def read_into(self, buffer: np.ndarray, shard_id: str, shard_bytes: int, offset: int) -> None:
        assert (shard_id, shard_bytes) == ("a", len(self.data))
        self.asked.append((offset, len(buffer)))
        buffer[:] = np.frombuffer(self.data[offset : offset + len(buffer)], np.uint8)


STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 60)),
    st.tuples(st.just("seek"), st.integers(0, 60)),
    st.tuples(st.just("back"), st.integers(0, 40)),
    st.tuples(st.just("end"), st.integers(0, 40)),
)


@given(st.binary(max_size=50), st.lists(STEPS, max_size=12))
def test_it_reads_as_a_file_of_these_bytes_does(data, steps):
    files, plain = Bytes(data), io.BytesIO(data)
    ranged = RangedFile(files, "a", len(data))
    for step, number in steps:
        if step == "read":
            assert ranged.read(number) == plain.read(number)
        elif step == "seek":
            assert ranged.seek(number) == plain.seek(number)
        elif step == "back":
            back = min(number, plain.tell())
            assert ranged.seek(-back, io.SEEK_CUR) == plain.seek(-back, io.SEEK_CUR)
        else:
            back = min(number, len(data))
            assert ranged.seek(-back, io.SEEK_END) == plain.seek(-back, io.SEEK_END)
        assert ranged.tell() == plain.tell()
    # Nothing is asked for that is not there, and nothing for no bytes.
    assert all(size > 0 and offset + size <= len(data) for offset, size in files.asked)


def test_pyarrow_reads_a_shard_by_ranges(tmp_path):
    stored = store_dataset(tmp_path, [[(1, 2, 2), (2, 2, 2)] * 8])
    files, shard = ShardFiles(Folder(str(tmp_path))), stored.shards[0].shard_id
    size = stored.path(0).stat().st_size
    with RangedFile(files, shard, size) as handle:
        assert handle.readable()
        assert handle.seekable()
        table = pq.ParquetFile(pa.PythonFile(handle, mode="r"), pre_buffer=False).read()
    assert table.column("clip_id").to_pylist() == [row.clip_id for row in stored.clips]
    with (
        RangedFile(files, "0" * 32, size) as handle,
        pytest.raises(FormatError, match=r"0000\.parquet is missing"),
    ):
        handle.read(3)
