from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.bsq_model.coding.frequencies import TOTAL, frequencies_of_weights
from bitmill.bsq_model.coding.range_coder import SymbolDecoder, SymbolEncoder, coder_probabilities
from bitmill.schemas.errors import FormatError
from tests.bsq_model.coding.plain_range_coder import PlainDecoder

WEIGHTS = st.one_of(st.integers(0, 1 << 30), st.sampled_from([0, 1, 1 << 30]))


@st.composite
def messages(draw):
    """Frequencies [S, K] and symbols [S]: sure, impossible and equal values among them."""
    num_values = 1 << draw(st.integers(1, 6))
    rows = draw(
        st.lists(
            st.lists(WEIGHTS, min_size=num_values, max_size=num_values).filter(any), min_size=0, max_size=40
        )
    )
    symbols = [draw(st.integers(0, num_values - 1)) for _ in rows]
    return [frequencies_of_weights(np.array([row], np.int64)) for row in rows], symbols


def _coded(frequencies, symbols) -> bytes:
    encoder = SymbolEncoder()
    for row, symbol in zip(frequencies, symbols, strict=True):
        encoder.put(np.array([symbol], np.int32), coder_probabilities(row))
    return encoder.finish()


@pytest.mark.slow
@given(messages())
def test_symbols_come_back_by_our_decoder_and_by_a_plain_one(message):
    frequencies, symbols = message
    data = _coded(frequencies, symbols)
    ours, plain = SymbolDecoder(data), PlainDecoder(data)
    assert [ours.take(coder_probabilities(row)) for row in frequencies] == symbols
    assert [plain.take(row[0].tolist()) for row in frequencies] == symbols


@pytest.mark.slow
@given(messages())
def test_the_bytes_are_as_few_as_the_frequencies_allow(message):
    frequencies, symbols = message
    data = _coded(frequencies, symbols)
    rows = zip(frequencies, symbols, strict=True)
    ideal_bits = -sum(float(np.log2(row[0, symbol] / TOTAL)) for row, symbol in rows)
    assert len(data) * 8 <= ideal_bits + 33
    assert not data.endswith(b"\0")


def test_a_sure_symbol_costs_next_to_nothing_and_an_unlikely_one_24_bits():
    sure = frequencies_of_weights(np.array([[1 << 30, 0]], np.int64))
    assert len(_coded([sure] * 10000, [0] * 10000)) <= 1
    assert 30 <= len(_coded([sure] * 10, [1] * 10)) <= 31


@given(st.binary(max_size=64))
def test_any_bytes_decode_to_something_or_are_refused(data):
    decoder = SymbolDecoder(data)
    row = coder_probabilities(frequencies_of_weights(np.array([[1, 2, 3, 0]], np.int64)))
    with suppress(FormatError):
        assert all(0 <= decoder.take(row) < 4 for _ in range(100))


def test_impossible_bytes_are_refused():
    row = coder_probabilities(frequencies_of_weights(np.array([[1, 1]], np.int64)))
    decoder = SymbolDecoder(b"\xff" * 8)
    with pytest.raises(FormatError, match="not a valid range-coded stream"):
        [decoder.take(row) for _ in range(1000)]
