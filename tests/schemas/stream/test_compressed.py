import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.stream import stream_header
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
PRIORS = st.none() | st.builds(PriorMark, fingerprint=HEX, numerics=st.text(max_size=40))


@st.composite
def tokens_of_bits(draw):
    """(geometry, bits of a group, prior) of BSQ-ViT's kind."""
    prior, patch_px = draw(PRIORS), draw(SIZES)
    group_bits = draw(st.integers(1, 16)) if prior else 1
    code = Code.of_bits(group_bits * draw(st.integers(1, 100 // group_bits)))
    return Geometry(patch_px=(patch_px, patch_px), code=code), group_bits, prior


OTHER_GEOMETRIES = [
    Geometry(patch_px=(8, 16), frames_per_token=4, lead_frames=1, code=Code.of_digits((8, 8, 8, 5, 5, 5))),
    Geometry(patch_px=(8, 8), code=Code.of_index(16384)),
    Geometry(patch_px=(8, 8), code=Code.of_bits(18, "least"), promises=("causal",)),
    Geometry(
        layout="pyramid",
        patch_px=(4, 4),
        schedules={"4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4))},
        code=Code.of_index(4096),
    ),
]
TOKENS = st.one_of(tokens_of_bits(), st.sampled_from(OTHER_GEOMETRIES).map(lambda one: (one, 1, None)))


@st.composite
def headers(draw):
    kind = draw(st.sampled_from(StreamKind))
    geometry, group_bits, prior = draw(TOKENS)
    frames = st.integers(1, 4)
    plain = geometry.layout == "grid" and draw(st.booleans())
    sizes = st.tuples(frames, SIZES, SIZES) if geometry.layout == "grid" else st.just((1, 4, 4))
    clips = draw(st.lists(sizes, max_size=4))
    header = StreamHeader(
        kind=kind,
        tokenizer_fingerprint=draw(HEX),
        geometry=geometry,
        group_bits=group_bits,
        lanes=draw(st.integers(1, 64)),
        prior=prior,
        clips=tuple(
            ClipPlace(num_rows=t, height=h, width=w, num_frames=t if plain else draw(SIZES), chunk_bytes=0)
            for t, h, w in clips
        ),
    )
    if kind is StreamKind.PICTURES:
        return replace(
            header, fps=draw(st.floats(0, 240)), source_height=draw(SIZES), tiles=draw(st.integers(1, 9))
        )
    return replace(
        header,
        shard_version=draw(st.integers(1, 2)),
        shard_metadata=draw(st.binary()),
        row_dictionary=draw(st.binary()),
    )


@st.composite
def streams(draw):
    """(header without chunk sizes, what each chunk holds, bytes)."""
    header = draw(headers())
    held = []
    for clip in header.clips:
        num_rows = header.coded_shape(clip)[0]
        row = draw(st.binary(max_size=9)) if header.kind is StreamKind.TOKEN_SHARD else b""
        checksum = st.integers(0, 2**32 - 1)
        checksums = draw(st.lists(checksum, min_size=num_rows, max_size=num_rows))
        held.append((row, tuple(checksums), draw(st.binary(max_size=40))))
    chunks = [
        chunk_bytes(header, index, row=row, row_checksums=checksums, payload=payload)
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
        assert [(c.row, c.row_checksums, c.payload) for c in chunks if c] == held
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
        chunk is not None and chunk.intact and (chunk.row, chunk.row_checksums, chunk.payload) == one
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
            assert (chunk.row, chunk.row_checksums, chunk.payload) == one
            assert chunk.intact


@given(st.binary(max_size=80), st.sampled_from([b"", b"bmz\x01", b"bmz\x02"]))
def test_foreign_bytes_are_refused(data, ours):
    with pytest.raises(FormatError, match="x "):
        CompressedStream(ours + data, origin="x ", salvage=True)


def _sound(data: bytes) -> bool:
    try:
        stream = CompressedStream(data, origin="x")
    except FormatError:
        return False
    return all(chunk is not None and chunk.intact for chunk in stream.chunks())


PLAIN = StreamHeader(
    kind=StreamKind.PICTURES,
    tokenizer_fingerprint="0" * 32,
    geometry=Geometry(patch_px=(8, 8), code=Code.of_bits(18)),
    group_bits=9,
    lanes=1,
    prior=None,
)


def _of_code(header, code):
    return replace(header, geometry=header.geometry.model_copy(update={"code": code}))


def _place(num_rows, height, width, *, num_frames=None, chunk_bytes=1 << 40):
    return ClipPlace(
        num_rows=num_rows,
        height=height,
        width=width,
        num_frames=num_rows if num_frames is None else num_frames,
        chunk_bytes=chunk_bytes,
    )


WIDE = replace(_of_code(PLAIN, Code.of_bits(256)), group_bits=1)
PYRAMID = replace(PLAIN, geometry=OTHER_GEOMETRIES[-1], group_bits=1)
MARK = PriorMark(fingerprint="1" * 32, numerics="")


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (replace(PLAIN, lanes=0), "0 lanes"),
        (replace(PLAIN, lanes=1 << 40), "lanes"),
        (replace(PLAIN, tiles=1 << 9), "512 tiles"),
        (replace(PLAIN, fps=float("nan")), "nan frames"),
        (_of_code(PLAIN, Code.of_bits(17)), "17 bits in groups of 9"),
        (replace(PLAIN, clips=(_place(MOST_CLIP_TOKENS, 2, 1),)), "a clip of"),
        (replace(PLAIN, clips=(_place(5, 1, 1, chunk_bytes=23),)), "a chunk of 23 bytes"),
        (replace(WIDE, group_bits=2), "256 bits in groups of 2"),
        (replace(_of_code(WIDE, Code.of_index(9)), prior=MARK), "a prior for index"),
        (replace(WIDE, clips=(_place(1 << 12, 1 << 6, 1 << 6),)), "a clip of 4096 × 64 × 64"),
        (replace(WIDE, lanes=1024, clips=(_place(1, 1 << 6, 1 << 7),)), "a clip of 1 × 64 × 128"),
        (replace(WIDE, clips=(_place(1, 1, 1, num_frames=0),)), "a clip of 0 frames"),
        (replace(PYRAMID, clips=(_place(1, 5, 5),)), "a clip of 1 × 5 × 5 tokens, of which it has no"),
        (replace(WIDE, kind=StreamKind.TOKEN_SHARD, shard_version=3), "a token shard of format 3"),
    ],
)
def test_a_header_that_asks_for_what_cannot_be_is_refused_before_anything_is_made(header, sentence):
    with pytest.raises(FormatError, match=sentence):
        CompressedStream(header_bytes(header), origin="x")


def test_a_newer_version_asks_for_an_upgrade():
    data = bytearray(header_bytes(PLAIN))
    data[3] = 4
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    with pytest.raises(FormatError, match=r"stream format 4; this bitmill reads up to 3\. Upgrade"):
        CompressedStream(bytes(data), origin="x")


def test_version_1_is_written_for_what_it_can_say():
    assert PLAIN.format_version == 1
    others = [
        _of_code(PLAIN, Code.of_bits(18, "least")),
        _of_code(PLAIN, Code.of_bits(65)),
        replace(PLAIN, shard_version=2),
        replace(PLAIN, geometry=PLAIN.geometry.model_copy(update={"patch_px": (8, 16)})),
        replace(PLAIN, clips=(_place(4, 1, 1, num_frames=3),)),
        *(replace(PLAIN, geometry=geometry) for geometry in OTHER_GEOMETRIES),
    ]
    assert {header.format_version for header in others} == {3}


@pytest.mark.parametrize("told", [b"", b"{}", b'{"code":{"size":4097}}', b"[" * 100_000, b" " * (1 << 21)])
@pytest.mark.parametrize("is_deflated", [True, False])
def test_damaged_geometry_is_a_sentence(told, is_deflated, monkeypatch):
    right = stream_header.deflated_geometry
    monkeypatch.setattr(stream_header, "deflated_geometry", lambda _: right(told) if is_deflated else told)
    with pytest.raises(FormatError, match="The header of x has no valid geometry of tokens"):
        CompressedStream(header_bytes(PYRAMID), origin="x")


def test_the_geometry_of_a_picture_takes_a_few_bytes():
    geometry = Geometry(
        patch_px=(8, 8),
        frames_per_token=4,
        lead_frames=1,
        usual_side_px=128,
        code=Code.of_bits(18),
        promises=("causal", "prefix", "streams"),
    )
    with_geometry = replace(WIDE, geometry=geometry, clips=(_place(1, 16, 16),))
    assert len(header_bytes(with_geometry)) < 64
