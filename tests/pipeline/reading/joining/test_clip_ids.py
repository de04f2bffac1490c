"""Clip ids as numbers: every text comes back, and each is found exactly where it is."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.joining.clip_ids import SortedIds, joined, parse_ids

# Few values of each half, so that halves are equal where ids are not.
HALF = st.sampled_from([0, 1, 2**63, 2**64 - 1])
IDS = st.lists(st.builds("{:016x}{:016x}".format, HALF, HALF), unique=True)


def parsed(texts: list[str]):
    return parse_ids(pa.chunked_array([texts[:2], texts[2:]], pa.string()))


@given(IDS)
def test_ids_are_parsed_and_told(texts):
    ids = parsed(texts)
    assert [ids.text(place) for place in range(len(texts))] == texts


@given(IDS, IDS)
def test_each_id_is_found_where_it_is_and_no_other(stored, asked):
    found = SortedIds(parsed(stored)).find(parsed(asked))
    assert found.tolist() == [stored.index(one) if one in stored else -1 for one in asked]


@given(IDS.filter(bool), st.data())
def test_an_id_that_is_twice_is_named(texts, data):
    again = data.draw(st.sampled_from(texts))
    with pytest.raises(ValueError, match=again):
        SortedIds(joined([parsed(texts), parsed([again])]))


def test_slices_of_arrays_are_their_own_ids():
    texts = [f"{number:032x}" for number in range(9)]
    ids = parse_ids(pa.chunked_array([pa.array(texts).slice(2, 5)]))
    assert ids.low.tolist() == [2, 3, 4, 5, 6]
    assert ids.high.dtype == np.uint64
