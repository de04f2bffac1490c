"""How many decoders an actor has: as many as its encoder keeps busy, within the job's bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.scheduling.decode_pace import DecodePace, next_size
from bitmill.pipeline.items import ItemEnd, MediaFacts


def _settled(size: int, most: int, *, decode_s: float, encode_s: float, items: int = 60) -> int:
    """An actor whose items take so long to decode and to encode, each decoder one item at a time."""
    now = [0.0]
    pace = DecodePace(size, most, clock=lambda: now[0])
    ready_at: list[float] = []

    def events(ready: float):
        now[0] = max(now[0], ready)
        yield ItemEnd(facts=MediaFacts(), decode_s=decode_s)

    begun = 0
    for item in range(items):
        while begun <= item or begun < item + pace.size:
            ready_at.append(now[0] + decode_s)
            begun += 1
        for _ in pace.measured(events(ready_at[item])):
            now[0] += encode_s
    return pace.size


@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_decoders_follow_the_rates_of_decoding_and_encoding(size):
    # Three decoders feed the encoder; the item that is read and what varies takes some more.
    assert 3 <= _settled(size, 32, decode_s=6.0, encode_s=2.0) <= 6
    # An encoder that is slower than one decoder needs none ahead but the next.
    assert _settled(size, 32, decode_s=1.0, encode_s=4.0) == 2
    # The bound holds where nothing is enough.
    assert _settled(min(size, 8), 8, decode_s=60.0, encode_s=0.1) == 8


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 40))
def test_a_step_is_small_and_within_bounds(size, most, waited, busy):
    found = next_size(size, most, waited=waited, busy=busy)
    assert min(2, most) <= found <= most
    assert found in (most, 2) or abs(found - size) <= 1


def test_a_cluster_that_shrank_takes_decoders_away():
    pace = DecodePace(8, 8)
    pace.bound(3)
    assert pace.size == 3
