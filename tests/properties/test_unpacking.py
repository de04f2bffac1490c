"""Laws of the compiled kernels: pieces of clips, wherever they lie, give what NumPy's slices give."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES, address_of, unpack_pieces
from bitmill.schemas.dataset.packing import (
    pack_bits,
    unpack_bits,
    unpack_groups,
    unpack_integers,
    unpack_values,
)

WIDTHS = (1, 7, 12, 13, 18, 36, 57, 58, 61, 62, 63, 64)
"""One of each kind: a whole period of one token and of eight, one load and two, up to the ninth byte."""

_UNTOUCHED = 99
"""What stands in places that no piece covers: no bit, no index of one bit, no value."""


@dataclass(frozen=True)
class Piece:
    """Tokens [first, first + count) of a clip, which go to places from ``target``."""

    clip: int
    first: int
    count: int
    target: int


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[int], list[list[tuple[Piece, int]]], int]:
    """Clips' numbers of tokens, runs of pieces with their shifts, and the output's length."""
    clips = draw(st.lists(st.integers(0, 300), min_size=1, max_size=4))
    place = 0
    runs: list[list[tuple[Piece, int]]] = []
    for _ in range(draw(st.integers(0, 3))):
        shift = draw(st.integers(-50, 50))
        run: list[tuple[Piece, int]] = []
        for _ in range(draw(st.integers(0, 3))):
            clip = draw(st.integers(0, len(clips) - 1))
            first = draw(st.integers(0, clips[clip]))
            count = draw(st.integers(0, clips[clip] - first))
            place += draw(st.integers(0, 3))
            run.append((Piece(clip, first, count, place), shift))
            place += count
        runs.append(run)
    return clips, runs, place + draw(st.integers(0, 3))


def written(codes: list[bytes], bits: int, layout, dtype, columns: int):
    """What the kernel writes for a layout into an output of this type."""
    _, runs, places = layout
    spared = [np.frombuffer(own + b"\xff" * SPARE_BYTES, np.uint8) for own in codes]
    held = [
        np.array(
            [(address_of(spared[p.clip]), p.first, p.count, p.target - shift) for p, shift in run], np.int64
        ).reshape(-1, 4)
        for run in runs
    ]
    table = [(address_of(own), len(own), run[0][1]) for own, run in zip(held, runs, strict=True) if run]
    out = np.full((places, columns), _UNTOUCHED % 2 if dtype == np.bool_ else _UNTOUCHED, dtype)
    unpack_pieces(np.array(table, np.int64).reshape(-1, 3), out, bits)
    return out


def expected(whole: list, layout, like):
    """The same by slices of whole clips in NumPy's form."""
    _, runs, places = layout
    out = np.full_like(like, _UNTOUCHED % 2 if like.dtype == np.bool_ else _UNTOUCHED)
    for run in runs:
        for piece, _ in run:
            tokens = whole[piece.clip][piece.first : piece.first + piece.count]
            out[piece.target : piece.target + piece.count] = tokens.reshape(piece.count, like.shape[1])
    assert len(out) == places
    return out


def random_codes(clips: list[int], bits: int, seed: int) -> list[bytes]:
    random = np.random.default_rng(seed)
    return [pack_bits(random.random((count, bits)) < 0.5) for count in clips]


@pytest.mark.parametrize("bits", WIDTHS)
@settings(max_examples=15)
@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_pieces_are_unpacked_as_numpy_unpacks_whole_clips(bits, layout, seed):
    clips = layout[0]
    codes = random_codes(clips, bits, seed)

    def check(unpack, dtype, columns):
        out = written(codes, bits, layout, dtype, columns)
        whole = [unpack(own, count, bits) for own, count in zip(codes, clips, strict=True)]
        assert np.array_equal(out, expected(whole, layout, out))

    check(unpack_bits, np.bool_, bits)
    check(unpack_values, np.float32, bits)
    if bits < 64:
        check(unpack_integers, np.int64, 1)
    if bits < 32:
        check(unpack_integers, np.int32, 1)
    group = max(number for number in range(1, 33) if bits % number == 0)
    check(lambda *clip: unpack_groups(*clip, group), np.int64, bits // group)
