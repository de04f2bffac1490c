"""Laws of the compiled kernels for codes of every kind: they give what ``schemas.dataset.packing`` gives."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES, address_of, unpack_clip, unpack_pieces
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes, unpack_integers
from bitmill.schemas.models.geometry import Code

FIRST = st.sampled_from(("most", "least"))
WIDE = st.sampled_from((65, 116, 127, 256))
"""Wider than a word: of groups that divide a load and that do not, of groups that need a ninth byte."""
LEVELS = st.sampled_from(((3, 2), (8, 8, 8, 5, 5, 5), (7, 1 << 40), (2,) * 63, (1 << 63,)))
CODES = st.one_of(
    st.builds(Code.of_bits, st.sampled_from((12, 61, 64)) | WIDE, FIRST),
    st.builds(Code.of_digits, LEVELS, FIRST),
    st.builds(Code.of_index, st.sampled_from((2, 1000, 1 << 18, (1 << 62) + 1))),
)
GROUPS = st.sampled_from(
    [(12, 1), (12, 4), (64, 16), (64, 32), (65, 5), (116, 29), (116, 58), (250, 50), (256, 4)]
)
"""Bits of a token and of a group."""


def random_codes(code: Code, count: int, seed: int):
    """Codes [N, D], with the least and the greatest among them."""
    random = np.random.default_rng(seed)
    if code.kind == "bits":
        return random.random((count, code.bits_per_token)) < 0.5
    codes_ND = random.integers(0, code.bases, (count, code.dimensions))
    codes_ND[:1] = 0
    codes_ND[1:2] = np.array(code.bases) - 1
    return codes_ND


def unpacked(packed: bytes, count: int, code: Code, dtype, columns: int):
    """A whole clip, with bytes before and behind it that are not its own."""
    buffer = np.frombuffer(b"\xff" * 3 + packed + b"\xff" * SPARE_BYTES, np.uint8)
    out = np.empty((count, columns), dtype)
    unpack_clip(buffer, 3, out, code)
    return out


@settings(max_examples=60)
@given(code=CODES, count=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_codes_of_every_kind(code, count, seed):
    codes_ND = random_codes(code, count, seed)
    packed = pack_codes(codes_ND, code)
    assert np.array_equal(unpack_codes(packed, count, code), codes_ND)
    dtype = np.bool_ if code.kind == "bits" else np.int64
    assert np.array_equal(unpacked(packed, count, code, dtype, code.dimensions), codes_ND)
    if code.bits_per_token <= 63:
        indices = unpack_integers(packed, count, code.bits_per_token)
        assert np.array_equal(unpacked(packed, count, code, np.int64, 1)[:, 0], indices)


@settings(max_examples=30)
@given(code=CODES.filter(lambda code: code.kind == "digits"), seed=st.integers(0, 2**32))
def test_values_of_digits_are_those_of_fsq(code, seed):
    codes_ND = random_codes(code, 20, seed)
    half = np.array([base // 2 for base in code.bases])
    expected = (codes_ND - half).astype(np.float32) / half.astype(np.float32)
    found = unpacked(pack_codes(codes_ND, code), 20, code, np.float32, code.dimensions)
    assert np.array_equal(found, expected)


@settings(max_examples=40)
@given(split=GROUPS, first=FIRST, seed=st.integers(0, 2**32))
def test_a_group_is_a_run_of_dimensions(split, first, seed):
    bits, group = split
    code = Code.of_bits(bits, first)
    bits_NL = random_codes(code, 21, seed)
    runs_NGg = bits_NL.reshape(21, bits // group, group).astype(np.int64)
    weights = 1 << np.arange(group, dtype=np.int64)
    expected = (runs_NGg * (weights if first == "least" else weights[::-1])).sum(-1)
    found = unpacked(pack_codes(bits_NL, code), 21, code, np.int64, bits // group)
    assert np.array_equal(found, expected)


@settings(max_examples=40)
@given(code=CODES, first=st.integers(0, 30), count=st.integers(0, 10), seed=st.integers(0, 2**32))
def test_a_piece_is_unpacked_from_any_token_on(code, first, count, seed):
    codes_ND = random_codes(code, 40, seed)
    buffer = np.frombuffer(pack_codes(codes_ND, code) + bytes(SPARE_BYTES), np.uint8)
    pieces = np.array([[address_of(buffer), first, count, 2]])
    out = np.full((count + 4, code.dimensions), codes_ND.dtype.type(99))
    unpack_pieces(np.array([[address_of(pieces), 1, 0]]), out, code)
    assert np.array_equal(out[2 : count + 2], codes_ND[first : first + count])
    assert (out[[0, 1, -2, -1]] == out.dtype.type(99)).all()


@pytest.mark.parametrize("first", ["most", "least"])
def test_an_index_that_is_no_code_gives_digits_in_their_range(first):
    code = Code.of_digits((3, 5, 5), first)
    packed = b"\xff" * 7
    found = unpacked(packed, 8, code, np.int64, 3)
    assert (found < np.array(code.bases)).all()
    remainders = pack_codes(np.full((8, 1), 127 % prod(code.bases)), Code.of_index(prod(code.bases)))
    assert np.array_equal(found, unpack_codes(remainders, 8, code))
