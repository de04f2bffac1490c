"""Row groups in memory: loaded once, the latest used stay, at most so many bytes."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pyarrow as pa
import pytest

from bitmill.pipeline.reading.joining.kept_groups import KeptGroups

TABLE = pa.table({"x": pa.array(range(100), pa.int64())})


def test_the_least_recently_used_are_dropped():
    kept, loads = KeptGroups(2 * TABLE.nbytes), []

    def get(key: str) -> None:
        kept.get(key, lambda: loads.append(key) or TABLE)

    for key in "abacab":
        get(key)
    assert loads == ["a", "b", "c", "b"]


def test_a_table_that_is_too_large_is_returned_all_the_same():
    kept = KeptGroups(10)
    assert kept.get("a", lambda: TABLE) is TABLE


def test_threads_that_ask_together_load_once():
    kept, loads, barrier = KeptGroups(10**9), [], Barrier(8)

    def get(_: int) -> pa.Table:
        barrier.wait()
        return kept.get("a", lambda: loads.append(1) or TABLE)

    with ThreadPoolExecutor(8) as pool:
        assert all(table is TABLE for table in pool.map(get, range(8)))
    assert loads == [1]


def test_a_failed_load_is_tried_again():
    kept = KeptGroups(10**9)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: TABLE) is TABLE


def test_it_pickles_without_its_tables():
    kept = KeptGroups(10**9)
    kept.get("a", lambda: TABLE)
    again, loads = pickle.loads(pickle.dumps(kept)), []
    again.get("a", lambda: loads.append(1) or TABLE)
    assert loads == [1]
