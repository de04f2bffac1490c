"""Laws of the bit layout, for every width."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitmill.schemas.dataset.packing import (
    pack_bits,
    pack_codes,
    pack_integers,
    packed_size,
    unpack_bits,
    unpack_codes,
    unpack_groups,
    unpack_integers,
    unpack_unsigned,
    unpack_values,
)
from bitmill.schemas.models.geometry import Code

WIDTHS = st.integers(1, 64)
ALL_WIDTHS = st.integers(1, 256)


@st.composite
def bit_arrays(draw: st.DrawFn, widths: st.SearchStrategy[int] = WIDTHS):
    shape = (draw(st.integers(0, 70)), draw(widths))
    return draw(hnp.arrays(np.bool_, shape))


def textbook_indices(bits_NL):
    """The paper's index of each code in plain Python: code bit 0 is the most significant."""
    return [int("".join("1" if bit else "0" for bit in row), 2) for row in bits_NL]


def textbook_stream(bits_NL) -> bytes:
    """The documented layout in plain Python: index i at bits [iL, (i+1)L), low bit first."""
    num_tokens, width = bits_NL.shape
    stream = sum(index << (place * width) for place, index in enumerate(textbook_indices(bits_NL)))
    return stream.to_bytes((num_tokens * width + 7) // 8, "little")


@given(bit_arrays(ALL_WIDTHS))
def test_layout_is_the_documented_one(bits_NL):
    codes = pack_bits(bits_NL)
    assert codes == textbook_stream(bits_NL)
    assert len(codes) == packed_size(*bits_NL.shape)


@given(bit_arrays(ALL_WIDTHS))
def test_unpacking_undoes_packing(bits_NL):
    num_tokens, width = bits_NL.shape
    assert np.array_equal(unpack_bits(pack_bits(bits_NL), num_tokens, width), bits_NL)


@given(bit_arrays())
def test_indices_are_the_papers(bits_NL):
    num_tokens, width = bits_NL.shape
    codes = pack_bits(bits_NL)
    assert unpack_unsigned(codes, num_tokens, width).tolist() == textbook_indices(bits_NL)


@st.composite
def codes_of_any_kind(draw: st.DrawFn):
    """A code, and int64 [N, D] of legal values."""
    first = draw(st.sampled_from(["most", "least"]))
    levels = draw(st.lists(st.integers(2, 40), min_size=1, max_size=9))
    kind = draw(st.sampled_from(["bits", "digits", "index"]))
    code = {
        "bits": lambda: Code.of_bits(draw(ALL_WIDTHS), first),
        "digits": lambda: Code.of_digits(tuple(levels), first),
        "index": lambda: Code.of_index(draw(st.integers(2, 2**63))),
    }[kind]()
    num_tokens = draw(st.integers(0, 20))
    rows = [[draw(st.integers(0, base - 1)) for base in code.bases] for _ in range(num_tokens)]
    return code, np.array(rows, np.int64).reshape(num_tokens, code.dimensions)


def textbook_index(code: Code, values: list[int]) -> int:
    """The published index in plain Python: dimension 0 is the lowest or the highest place."""
    pairs = list(zip(values, code.bases, strict=True))
    index = 0
    for value, base in pairs[::-1] if code.first != "most" else pairs:
        index = index * base + value
    return index


@pytest.mark.slow
@given(codes_of_any_kind())
def test_every_code_is_stored_by_its_published_index(drawn):
    code, values_ND = drawn
    given_ND = values_ND.astype(np.bool_) if code.kind == "bits" else values_ND
    packed, width = pack_codes(given_ND, code), code.bits_per_token
    stream = sum(textbook_index(code, row) << (at * width) for at, row in enumerate(values_ND.tolist()))
    assert packed == stream.to_bytes(packed_size(len(values_ND), width), "little")
    found = unpack_codes(packed, len(values_ND), code)
    assert found.dtype == given_ND.dtype
    assert np.array_equal(found, given_ND)


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ([[8, 0]], Code.of_digits((8, 5)), r"outside \[0, 8 × 5\)"),
        ([[-1]], Code.of_index(1000), r"outside \[0, 1000\)"),
        ([[0, 0, 0]], Code.of_digits((8, 5)), r"int64 \[N, 2\], not int64 \[1, 3\]"),
    ],
)
def test_values_that_are_no_codes_are_refused(values, code, message):
    with pytest.raises(ValueError, match=message):
        pack_codes(np.array(values, np.int64), code)


def test_the_largest_index_is_kept():
    code, index_N1 = Code.of_index(2**63), np.array([[2**63 - 1], [0]], np.int64)
    assert np.array_equal(unpack_codes(pack_codes(index_N1, code), 2, code), index_N1)


def test_an_index_beyond_the_codes_is_damage():
    with pytest.raises(ValueError, match="a token is not below 1000: the codes are damaged"):
        unpack_codes(pack_integers(np.array([5, 1000], np.int64), 10), 2, Code.of_index(1000))


@given(bit_arrays())
def test_integers_pack_to_the_same_bytes(bits_NL):
    indices = np.array(textbook_indices(bits_NL), dtype=np.uint64)
    assert pack_integers(indices, bits_NL.shape[1]) == pack_bits(bits_NL)


@given(bit_arrays(widths=st.integers(1, 63)))
def test_integer_view_is_the_index(bits_NL):
    num_tokens, width = bits_NL.shape
    view = unpack_integers(pack_bits(bits_NL), num_tokens, width)
    assert view.dtype == np.int64
    assert view.tolist() == textbook_indices(bits_NL)


@given(st.data(), st.integers(1, 16), st.integers(1, 8))
def test_groups_read_the_code_in_order(data, group_bits, num_groups):
    width = group_bits * num_groups
    if width > 64:
        return
    bits_NL = data.draw(hnp.arrays(np.bool_, (data.draw(st.integers(0, 20)), width)))
    groups = unpack_groups(pack_bits(bits_NL), len(bits_NL), width, group_bits)
    expected = [textbook_indices(row.reshape(num_groups, group_bits)) for row in bits_NL]
    assert groups.dtype == np.int64
    assert groups.shape == (len(bits_NL), num_groups)
    assert groups.tolist() == expected


@given(bit_arrays())
def test_values_are_corners_of_the_unit_sphere(bits_NL):
    num_tokens, width = bits_NL.shape
    values = unpack_values(pack_bits(bits_NL), num_tokens, width)
    assert values.dtype == np.float32
    assert np.array_equal(values > 0, bits_NL)
    assert np.all(np.abs(values) == np.float32(1 / np.sqrt(width)))


@pytest.mark.parametrize("width", range(1, 65))
def test_every_width_survives_its_extremes(width):
    bits_NL = np.zeros((19, width), dtype=np.bool_)
    bits_NL[::2] = True
    codes = pack_bits(bits_NL)
    assert np.array_equal(unpack_bits(codes, 19, width), bits_NL)
    assert unpack_unsigned(codes, 19, width).tolist() == textbook_indices(bits_NL)


@given(bit_arrays(), st.integers(-9, 9).filter(bool))
def test_a_wrong_length_is_refused(bits_NL, change):
    num_tokens, width = bits_NL.shape
    codes = pack_bits(bits_NL)
    wrong = codes + b"\0" * change if change > 0 else codes[:change]
    if len(wrong) == len(codes):
        return
    with pytest.raises(ValueError, match="tokens of"):
        unpack_bits(wrong, num_tokens, width)


def test_dirty_padding_is_refused():
    codes = bytearray(pack_bits(np.ones((1, 5), dtype=np.bool_)))
    codes[-1] |= 0x80
    with pytest.raises(ValueError, match="padding"):
        unpack_integers(codes, 1, 5)


def test_numbers_are_not_taken_for_bits():
    with pytest.raises(ValueError, match="bits must be bool"):
        pack_bits(np.ones((2, 4), dtype=np.uint8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack_bits(np.zeros((1, 257), dtype=np.bool_)), "1 to 256"),
        (lambda: unpack_unsigned(bytes(9), 1, 65), "1 to 64 bits, not 65"),
        (lambda: unpack_integers(bytes(8), 1, 64), "do not fit int64"),
        (lambda: unpack_groups(bytes(3), 1, 18, 4), "do not split 18 bits"),
        (lambda: pack_integers(np.array([4], dtype=np.int64), 2), "outside"),
        (lambda: pack_integers(np.array([-1], dtype=np.int64), 2), "outside"),
    ],
)
def test_impossible_requests_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
