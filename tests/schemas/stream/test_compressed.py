import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.schemas.errors import FormatError
from bitmill.schemas.stream.compressed import CompressedStream, chunk_bytes, has_second_header, stream_bytes
from bitmill.schemas.stream.stream_header import (
    MOST_CLIP_TOKENS,
    ClipPlace,
    PriorMark,
    StreamHeader,
    StreamKind,
    header_bytes,
)

SIZES = st.integers(1, 300)
HEX = st.binary(min_size=16, max_size=16).map(bytes.hex)


@st.composite
def headers(draw):
    kind = draw(st.sampled_from(StreamKind))
    group_bits = draw(st.integers(1, 16))
    frames = st.integers(1, 4)
    clips = draw(st.lists(st.tuples(frames, SIZES, SIZES), max_size=4))
    header = StreamHeader(
        kind=kind,
        tokenizer_fingerprint=draw(HEX),
        bits_per_token=group_bits * draw(st.integers(1, 64 // group_bits)),
        patch_size_px=draw(SIZES),
        group_bits=group_bits,
        lanes=draw(st.integers(1, 1024)),
        prior=draw(st.none() | st.builds(PriorMark, fingerprint=HEX, numerics=st.text(max_size=40))),
        clips=tuple(ClipPlace(num_frames=t, height=h, width=w, chunk_bytes=0) for t, h, w in clips),
    )
    if kind is StreamKind.PICTURES:
        return replace(
            header, fps=draw(st.floats(0, 240)), source_height=draw(SIZES), tiles=draw(st.integers(1, 9))
        )
    return replace(header, shard_metadata=draw(st.binary()), row_dictionary=draw(st.binary()))


@st.composite
def streams(draw):
    """(header without chunk sizes, what each chunk holds, bytes)."""
    header = draw(headers())
    held = []
    for clip in header.clips:
        row = draw(st.binary(max_size=9)) if header.kind is StreamKind.TOKEN_SHARD else b""
        checksum = st.integers(0, 2**32 - 1)
        checksums = draw(st.lists(checksum, min_size=clip.num_frames, max_size=clip.num_frames))
        held.append((row, tuple(checksums), draw(st.binary(max_size=40))))
    chunks = [
        chunk_bytes(header, index, row=row, frame_checksums=checksums, payload=payload)
        for index, (row, checksums, payload) in enumerate(held)
    ]
    return header, held, stream_bytes(header, chunks)


@given(streams())
def test_a_stream_gives_back_its_header_and_chunks(made):
    header, held, data = made
    for salvage in (False, True):
        stream = CompressedStream(data, origin="x", salvage=salvage)
        assert replace(stream.header, clips=()) == replace(header, clips=())
        assert [clip.shape for clip in stream.header.clips] == [clip.shape for clip in header.clips]
        chunks = stream.chunks()
        assert [(c.row, c.frame_checksums, c.payload) for c in chunks if c] == held
        assert all(chunk is not None and chunk.intact for chunk in chunks)


@given(streams(), st.data())
def test_damage_anywhere_is_seen_and_costs_one_chunk_at_most(made, data):
    header, held, whole = made
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    damaged = bytes(damaged)
    assert not _sound(damaged)
    if not has_second_header(header):
        return
    found = CompressedStream(damaged, origin="x", salvage=True).chunks()
    right = [
        chunk is not None and chunk.intact and (chunk.row, chunk.frame_checksums, chunk.payload) == one
        for chunk, one in zip(found, held, strict=True)
    ]
    assert right.count(False) <= 1


@given(streams(), st.data())
def test_a_cut_anywhere_is_seen_and_what_stands_before_it_stays(made, data):
    _, held, whole = made
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert not _sound(cut)
    assert not _sound(whole + b"\0")
    try:
        found = CompressedStream(cut, origin="x", salvage=True)
    except FormatError:
        return
    start = len(header_bytes(found.header))
    for place, chunk, one in zip(found.header.clips, found.chunks(), held, strict=True):
        start += place.chunk_bytes
        if start <= len(cut):
            assert chunk is not None
            assert (chunk.row, chunk.frame_checksums, chunk.payload) == one
            assert chunk.intact


@given(st.binary(max_size=80), st.booleans())
def test_foreign_bytes_are_refused(data, ours):
    with pytest.raises(FormatError, match="x "):
        CompressedStream(b"bmz\x01" * ours + data, origin="x ", salvage=True)


def _sound(data: bytes) -> bool:
    try:
        stream = CompressedStream(data, origin="x")
    except FormatError:
        return False
    return all(chunk is not None and chunk.intact for chunk in stream.chunks())


PLAIN = StreamHeader(
    kind=StreamKind.PICTURES,
    tokenizer_fingerprint="0" * 32,
    bits_per_token=18,
    patch_size_px=8,
    group_bits=9,
    lanes=1,
    prior=None,
)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (replace(PLAIN, lanes=0), "0 lanes"),
        (replace(PLAIN, lanes=1 << 40), "lanes"),
        (replace(PLAIN, tiles=1 << 9), "512 tiles"),
        (replace(PLAIN, fps=float("nan")), "nan frames"),
        (replace(PLAIN, bits_per_token=17), "17 bits in groups of 9"),
        (
            replace(
                PLAIN,
                clips=(ClipPlace(num_frames=MOST_CLIP_TOKENS, height=2, width=1, chunk_bytes=1 << 40),),
            ),
            "a clip of",
        ),
        (
            replace(PLAIN, clips=(ClipPlace(num_frames=5, height=1, width=1, chunk_bytes=23),)),
            "a chunk of 23 bytes",
        ),
    ],
)
def test_a_header_that_asks_for_what_cannot_be_is_refused_before_anything_is_made(header, sentence):
    with pytest.raises(FormatError, match=sentence):
        CompressedStream(header_bytes(header), origin="x")


def test_a_newer_version_asks_for_an_upgrade():
    data = bytearray(header_bytes(PLAIN))
    data[3] = 2
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    with pytest.raises(FormatError, match=r"stream format 2; this bitmill reads 1\. Upgrade"):
        CompressedStream(bytes(data), origin="x")
