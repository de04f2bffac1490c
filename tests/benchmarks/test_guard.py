"""The guard's verdicts: what is slower than it was, and what only seems so because the machine was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.guard import judge, table

rates = st.floats(1e-3, 1e9)
rounds = st.lists(st.tuples(rates, rates), min_size=1, max_size=5)


def _told(pairs):
    return [{"unpack": {"ours": ours, "peer": peer}} for ours, peer in pairs]


def test_what_is_slower_by_itself_and_beside_its_peer_is_told():
    (verdict,) = judge(_told([(70, 100), (75, 100), (20, 30)]), _told([(100, 100), (100, 100), (30, 30)]))
    assert verdict.is_slower(0.8)
    assert "| unpack | 0.70× | 0.70× | 0.70× | **slower** |" in table([verdict], "v1", 0.8)


@given(rounds, st.floats(0.01, 1))
def test_a_slower_machine_is_no_slower_program(pairs, slowness):
    now = _told([(ours * slowness, peer * slowness) for ours, peer in pairs])
    (verdict,) = judge(now, _told(pairs))
    assert not verdict.is_slower(0.8)


@given(rounds)
def test_a_tree_is_as_quick_as_itself(pairs):
    (verdict,) = judge(_told(pairs), _told(pairs))
    assert verdict.to_then == verdict.to_then_by_peers == 1
    assert not verdict.is_slower(0.99)


def test_what_the_older_tree_lacks_is_compared_with_the_peer_alone():
    (verdict,) = judge(
        _told([(5, 10)]),
        [{"unpack": {"missing": "No module named 'bitmill.pipeline.reading.kernels.unpack'"}}],
    )
    assert (verdict.to_peer, verdict.to_then) == (0.5, None)
    assert not verdict.is_slower(0.8)
    assert "| unpack | 0.50× | – | – |  |" in table([verdict], "v1", 0.8)


def test_what_this_tree_cannot_measure_is_an_error():
    with pytest.raises(ValueError, match="unpack cannot be measured in this tree: gone"):
        judge([{"unpack": {"missing": "gone"}}], _told([(1, 1)]))
