import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.compressing.row_metadata import row_bytes, row_columns, row_dictionary, row_of_bytes
from bitmill.pipeline.compressing.shard_streams import compress_shard, lost_ids, read_shard, restore_shard
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError
from bitmill.schemas.stream.compressed import CompressedStream
from tests.support.coded_datasets import mixed_dataset
from tests.support.datasets import make_dataset
from tests.support.other_tokens import GEOMETRIES, SHAPES, write_shard
from tests.support.priors import random_prior

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INT64 = st.integers(-(2**63), 2**63 - 1)
COLUMNS = {
    "clip_id": TEXT,
    "source": TEXT,
    "key": st.none() | TEXT,
    "start_ns": INT64,
    "end_ns": INT64,
    "fps": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "frame_pts_ns": st.lists(INT64, max_size=5),
    "source_height": st.integers(0, 9999),
    "source_width": st.integers(0, 9999),
    "metadata": st.none() | TEXT,
}
INT32 = st.integers(0, 2**31 - 1)
SINCE_2 = {
    **dict.fromkeys(("scaled_height", "scaled_width", "crop_top", "crop_left", "lead_frames"), INT32),
    "num_real_frames": INT32,
    "context_start_ns": st.none() | INT64,
    "shot_index": st.none() | INT32,
}
ROWS = {
    version: st.lists(st.fixed_dictionaries(columns), max_size=4)
    for version, columns in ((1, COLUMNS), (2, COLUMNS | SINCE_2))
}


def _shards(tmp_path):
    folder = str(tmp_path / "tokens")
    shards = make_dataset(folder, [[16, 3], [5], [], [2, 2, 2]], max_sources=4)
    return [tmp_path / "tokens" / shard_file(shard.shard_id) for shard in shards]


def _compressed(path, prior=None, lanes=4):
    with path.open("rb") as file:
        shard = read_shard(file, origin=path.name)
    return shard, compress_shard(shard, prior, lanes, origin=path.name)


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_shard_comes_back_as_an_equal_table(tmp_path, with_prior):
    for path in _shards(tmp_path):
        with path.open("rb") as file:
            fingerprint = read_shard(file, origin="x").metadata.tokenizer_fingerprint
        prior = random_prior(fingerprint) if with_prior else None
        _, data = _compressed(path, prior)
        out = tmp_path / "again.parquet"
        stream = CompressedStream(data, origin="x")
        clips = restore_shard(stream, prior, out, origin="x", salvage=False)
        was, now = pq.read_table(path), pq.read_table(out)
        assert now.equals(was, check_metadata=True)
        assert len(clips) == len(was)
        assert len(data) < path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
def test_clips_of_several_frame_sizes_share_a_stream(tmp_path, with_prior, lanes):
    dataset = mixed_dataset(tmp_path / "tokens", "bits, least first")
    grids: set[tuple[int, int]] = set()
    for number in range(len(dataset.plan)):
        prior = random_prior(dataset.card.tokenizer_fingerprint) if with_prior else None
        shard, data = _compressed(dataset.shard(number), prior, lanes)
        grids |= {(row["height"], row["width"]) for row in shard.rows}
        out = tmp_path / f"{number}.parquet"
        restore_shard(CompressedStream(data, origin="x"), prior, out, origin="x", salvage=False)
        assert pq.read_table(out).equals(pq.read_table(dataset.shard(number)), check_metadata=True)
    assert grids == {(4, 6), (6, 4), (4, 4)}


def test_a_damaged_shard_loses_one_clip_and_tells_which(tmp_path):
    (path,) = _shards(tmp_path)
    shard, data = _compressed(path)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    with pytest.raises(FormatError, match="is damaged: clip"):
        restore_shard(
            CompressedStream(bytes(damaged), origin="x"), None, tmp_path / "a", origin="x", salvage=False
        )
    stream = CompressedStream(bytes(damaged), origin="x", salvage=True)
    clips = restore_shard(stream, None, tmp_path / "b.parquet", origin="x", salvage=True)
    (lost,) = lost_ids(clips, stream.header)
    ids = [row["clip_id"] for row in shard.rows]
    assert pq.read_table(tmp_path / "b.parquet")["clip_id"].to_pylist() == [i for i in ids if i != lost]


@pytest.mark.parametrize("version", [1, 2])
@given(data=st.data())
def test_rows_come_back_by_themselves(version, data):
    rows = data.draw(ROWS[version])
    dictionary = row_dictionary(rows, version)
    for row in rows:
        assert row_of_bytes(row_bytes(row, version, dictionary), version, dictionary, origin="x") == row
    assert not rows or set(row_columns(version)) == set(rows[0])


@given(st.binary(max_size=60))
def test_foreign_bytes_are_no_row(data):
    with pytest.raises(FormatError, match="A row of x"):
        row_of_bytes(data, 2, b"", origin="x")


def test_a_row_that_would_fill_the_memory_is_refused():
    import zlib

    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflate.compress(bytes(1 << 27)) + deflate.flush()
    with pytest.raises(FormatError, match="larger than a row can be"):
        row_of_bytes(bomb, 2, b"", origin="x")


def test_columns_that_are_no_token_shards_are_refused(tmp_path):
    (path,) = _shards(tmp_path)
    table = pq.read_table(path)
    buffer = io.BytesIO()
    pq.write_table(table.append_column("mine", pa.array([1] * len(table))), buffer)
    buffer.seek(0)
    with pytest.raises(FormatError, match=r"columns that a token shard does not have \(mine\)"):
        read_shard(buffer, origin="x")


def test_a_header_that_contradicts_the_shards_metadata_is_refused(tmp_path):
    (path,) = _shards(tmp_path)
    _, data = _compressed(path)
    stream = CompressedStream(data, origin="x")
    header = stream.header
    for wrong in (
        replace(header, geometry=header.geometry.model_copy(update={"patch_px": (4, 4)})),
        replace(header, shard_version=1),
        replace(header, tokenizer_fingerprint="0" * 32),
    ):
        stream.header = wrong
        with pytest.raises(FormatError, match="contradicts the shard's own metadata"):
            restore_shard(stream, None, tmp_path / "a", origin="x", salvage=False)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_shard_of_any_tokens_comes_back_as_an_equal_table(tmp_path, geometry):
    path, out = tmp_path / "shard.parquet", tmp_path / "again.parquet"
    write_shard(path, geometry)
    shard, data = _compressed(path)
    assert shard.num_tokens == sum(map(geometry.num_tokens, SHAPES))
    stream = CompressedStream(data, origin="x")
    restore_shard(stream, None, out, origin="x", salvage=False)
    assert pq.read_table(out).equals(pq.read_table(path), check_metadata=True)
    assert [place.num_frames for place in stream.header.clips] == [4, 2, 3]


def test_a_pyramid_without_a_schedule_of_its_grid_is_damaged(tmp_path):
    write_shard(tmp_path / "shard.parquet", GEOMETRIES["pyramid"])
    table = pq.read_table(tmp_path / "shard.parquet")
    heights = pa.array([7] * len(table), pa.int32())
    table = table.set_column(table.schema.names.index("height"), table.schema.field("height"), heights)
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(FormatError, match="has no schedule of the grid '7x3'"):
        _compressed(tmp_path / "other.parquet")
