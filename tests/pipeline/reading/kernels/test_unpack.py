"""The compiled kernels against ``schemas.dataset.packing``: forms, bounds of memory, what is refused."""

import numpy as np
import pytest

from bitmill.pipeline.reading.kernels.unpack import (
    SPARE_BYTES,
    address_of,
    bytes_at,
    int64s_at,
    unpack_clip,
    unpack_into,
    unpack_pieces,
)
from bitmill.schemas.dataset.packing import (
    pack_bits,
    packed_size,
    unpack_groups,
    unpack_integers,
    unpack_unsigned,
)


def random_codes(count: int, bits: int) -> bytes:
    return pack_bits(np.random.default_rng(bits).random((count, bits)) < 0.5)


@pytest.mark.parametrize(
    ("bits", "group"),
    [(bits, group) for bits in (12, 18, 64) for group in range(1, 64) if bits % group == 0],
)
def test_groups_of_every_divisor(bits, group):
    codes = random_codes(37, bits)
    out = np.empty((37, bits // group), np.int64)
    spared = np.frombuffer(codes + bytes(SPARE_BYTES), np.uint8)
    unpack_clip(spared, 0, out, bits)
    assert np.array_equal(out, unpack_groups(codes, 37, bits, group))


def test_64_bits_fill_an_unsigned_index():
    codes = random_codes(21, 64)
    out = np.empty(21, np.uint64)
    unpack_into(np.frombuffer(codes, np.uint8), out, 64)
    assert np.array_equal(out, unpack_unsigned(codes, 21, 64))


def test_bytes_behind_the_codes_and_before_them_are_not_taken_for_codes():
    bits, count = 13, 11
    codes = random_codes(count, bits)
    reference = unpack_integers(codes, count, bits)
    for around in (b"\x00" * 16, b"\xff" * 16):
        buffer = np.frombuffer(around + codes + around, np.uint8)
        pieces = np.array([[address_of(buffer) + 16, 0, count, 0]])
        out = np.empty((count, 1), np.int64)
        unpack_pieces(np.array([[address_of(pieces), 1, 0]]), out, bits)
        assert np.array_equal(out[:, 0], reference)


@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_one_clip_into_an_array(count):
    codes = random_codes(count, 18)
    out = np.empty(count, np.int32)
    unpack_into(np.frombuffer(codes, np.uint8), out, 18)
    assert np.array_equal(out, unpack_integers(codes, count, 18))


def test_a_wrong_length_is_refused():
    with pytest.raises(ValueError, match="3 tokens of 18 bits are not 8 bytes"):
        unpack_into(np.zeros(8, np.uint8), np.empty(3, np.int32), 18)


def test_dirty_padding_is_refused():
    codes = np.zeros(packed_size(3, 18), np.uint8)
    codes[-1] = 0x40
    with pytest.raises(ValueError, match="the padding after the last token is not zero"):
        unpack_into(codes, np.empty(3, np.int32), 18)


@pytest.mark.parametrize(("bits", "columns"), [(65, 1), (130, 2), (18, 4), (0, 1)])
def test_values_that_a_token_is_not_made_of_are_refused(bits, columns):
    with pytest.raises(ValueError, match=f"{columns} columns do not take {bits} bits_per_token of up to 64"):
        unpack_clip(np.zeros(40, np.uint8), 0, np.empty((1, columns), np.int64), bits)


def test_memory_is_seen_where_it_lies():
    numbers = np.arange(6, dtype=np.int64)
    assert int64s_at(address_of(numbers) + 8, 4).tolist() == [1, 2, 3, 4]
    assert bytes_at(address_of(numbers) + 8, 8).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
