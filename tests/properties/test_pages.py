"""Laws of pages and their headers: no damage goes unseen, and no bytes do worse than a ValueError."""

import io
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.shards.parquet_pages import find_clips, page_at, pages_of
from bitmill.pipeline.reading.shards.parquet_thrift import read_struct

# Tokens of 8 bits, so that a clip has as many bytes as tokens.
SIZES = (9, 21, 9, 1, 33, 9, 9, 2, 40, 9, 5, 5)
LONG = 5000
"""A size whose length, as a number of a header, takes several bytes."""


@cache
def stored_chunk(compressed: bool, long: bool = False) -> tuple[np.ndarray, np.ndarray, tuple[bytes, ...]]:
    """A chunk of several pages as a token shard's, sizes of its clips, and their codes."""
    random = np.random.default_rng(0)
    sizes = (*SIZES, LONG) if long else SIZES
    clips = tuple(random.integers(0, 4, size, np.uint8).tobytes() for size in sizes)
    sink = io.BytesIO()
    schema = pa.schema([pa.field("codes", pa.large_binary(), nullable=False)])
    pq.write_table(
        pa.table({"codes": list(clips)}, schema=schema),
        sink,
        version="2.6",
        use_dictionary=False,
        compression={"codes": "zstd" if compressed else "none"},
        column_encoding={"codes": "PLAIN"},
        write_page_checksum=True,
        write_page_index=True,
        write_statistics=False,
        data_page_size=30,
        write_batch_size=2,
    )
    codes = pq.read_metadata(io.BytesIO(sink.getvalue())).row_group(0).column(0)
    start = codes.data_page_offset
    data = sink.getvalue()[start : start + codes.total_compressed_size]
    return np.frombuffer(data, np.uint8), np.array(sizes, np.int64), clips


def clips_in(chunk: np.ndarray, sizes: np.ndarray, **options: bool) -> tuple[bytes, ...] | None:
    """The clips of a chunk, or null where a ValueError says that it is not sound."""
    try:
        codes, starts = find_clips(chunk, sizes, 8, **options)
    except ValueError:
        return None
    return tuple(codes[a : a + size].tobytes() for a, size in zip(starts, sizes, strict=True))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("long", [False, True])
def test_a_chunk_has_the_clips_that_were_written(compressed, long):
    chunk, sizes, clips = stored_chunk(compressed, long)
    assert len(list(pages_of(chunk.data))) > 3
    for verify in (True, False):
        assert clips_in(chunk, sizes, compressed=compressed, verify=verify) == clips


@pytest.mark.parametrize("compressed", [False, True])
@given(data=st.data(), change=st.integers(1, 255))
@settings(max_examples=300)
def test_a_changed_byte_gives_an_error_or_the_same_clips(compressed, data, change):
    """A page's header has no checksum: a change there that says nothing of the codes may pass."""
    chunk, sizes, clips = stored_chunk(compressed, data.draw(st.booleans()))
    damaged = chunk.copy()
    damaged[data.draw(st.integers(0, len(chunk) - 1))] ^= change
    assert clips_in(damaged, sizes, compressed=compressed, verify=True) in (None, clips)


@pytest.mark.parametrize("compressed", [False, True])
@given(data=st.data(), change=st.integers(1, 255))
def test_a_changed_byte_of_codes_is_always_found(compressed, data, change):
    chunk, sizes, _ = stored_chunk(compressed)
    page = data.draw(st.sampled_from(list(pages_of(chunk.data))))
    damaged = chunk.copy()
    damaged[page.body + data.draw(st.integers(0, page.stored_bytes - 1))] ^= change
    with pytest.raises(ValueError, match="a page does not match its checksum"):
        find_clips(damaged, sizes, 8, compressed=compressed, verify=True)


@pytest.mark.parametrize("compressed", [False, True])
@given(data=st.data())
def test_a_chunk_cut_short_is_never_sound(compressed, data):
    chunk, sizes, _ = stored_chunk(compressed)
    end = data.draw(st.integers(0, len(chunk) - 1))
    assert clips_in(chunk[:end], sizes, compressed=compressed, verify=data.draw(st.booleans())) is None


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
@given(data=st.data(), verify=st.booleans())
@settings(max_examples=300)
def test_bytes_changed_at_will_raise_nothing_but_value_errors(compressed, data, verify):
    chunk, sizes, _ = stored_chunk(compressed)
    damaged = chunk.copy()
    for place in data.draw(st.lists(st.integers(0, len(chunk) - 1), max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    clips_in(damaged, sizes, compressed=compressed, verify=verify)


@given(st.binary(max_size=300), st.lists(st.integers(0, 50), max_size=8), st.booleans(), st.booleans())
@settings(max_examples=300)
def test_any_bytes_raise_nothing_but_value_errors(data, sizes, compressed, verify):
    chunk = np.frombuffer(data, np.uint8)
    clips_in(chunk, np.array(sizes, np.int64), compressed=compressed, verify=verify)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


@st.composite
def structs(draw: st.DrawFn, depth: int = 2) -> tuple[bytes, dict[int, object]]:
    """A struct in the compact protocol, and what it says."""
    data, said, number = b"", {}, 0
    for _ in range(draw(st.integers(0, 5))):
        step = draw(st.integers(1, 30))
        number += step
        kinds = ["true", "false", "i16", "i32", "i64", "double", "binary", "list", "byte"]
        kind = draw(st.sampled_from(kinds + ["struct"] * (depth > 0)))
        code = {"true": 1, "false": 2, "byte": 3, "i16": 4, "i32": 5, "i64": 6, "double": 7, "binary": 8}
        code |= {"list": 9, "struct": 12}
        data += bytes([step << 4 | code[kind]]) if step < 16 else bytes([code[kind]]) + zigzag(number)
        if kind in ("true", "false"):
            said[number] = kind == "true"
        elif kind == "byte":
            said[number] = draw(st.integers(0, 255))
            data += bytes([said[number]])
        elif kind == "double":
            said[number] = draw(st.binary(min_size=8, max_size=8))
            data += said[number]
        elif kind == "binary":
            said[number] = draw(st.binary(max_size=20))
            data += varint(len(said[number])) + said[number]
        elif kind == "list":
            items = draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
            said[number] = items
            data += bytes([len(items) << 4 | 5]) if len(items) < 15 else b"\xf5" + varint(len(items))
            data += b"".join(map(zigzag, items))
        elif kind == "struct":
            own, said[number] = draw(structs(depth=depth - 1))
            data += own
        else:
            bits = {"i16": 15, "i32": 31, "i64": 63}[kind]
            said[number] = draw(st.integers(-(2**bits), 2**bits - 1))
            data += zigzag(said[number])
    return data + b"\0", said


@given(structs(), st.binary(max_size=9), st.binary(max_size=9))
def test_structs_are_read_as_they_were_written(struct, before, behind):
    data, said = struct
    found, end = read_struct(memoryview(before + data + behind), len(before))
    assert found == said
    assert end == len(before) + len(data)


@given(structs(), st.data())
def test_structs_cut_short_are_none(struct, data):
    written = struct[0]
    with pytest.raises(ValueError, match="Thrift"):
        read_struct(memoryview(written[: data.draw(st.integers(0, len(written) - 1))]), 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "data",
    [
        b"\x1c" * 1_000_000,
        b"\x19" + b"\x19" * 1_000_000,
        b"\x19\xfc" + varint(10**5) + b"\x19\xfc" + varint(10**5) + bytes(100_000),
        b"\x18" + varint(2**62) + bytes(1_000_000),
        b"\x19\xf3" + varint(2**62) + bytes(1_000_000),
        b"\x15" + b"\xff" * 1_000_000,
        b"\x1d\x00",
    ],
)
def test_hostile_headers_end_at_once(data):
    """Structs in structs, lists in lists, numbers and lengths without end, and a kind that no page has."""
    with pytest.raises(ValueError, match=r"[Tt]hrift"):
        read_struct(memoryview(data), 0)
    with pytest.raises(ValueError, match=r"[Tt]hrift"):
        page_at(memoryview(data), 0)
