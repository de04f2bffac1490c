"""A store that throttles, resets and cuts short: whatever single call fails, the dataset's bytes stay."""

import random
from collections.abc import Iterator

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import TransientError
from tests.support.faulty_store import FAULTS, Fault, FaultyStore, faulty_store
from tests.support.whole_job import put_pictures, whole_job

pytestmark = pytest.mark.s3

_NUM_PICTURES = 4


@pytest.fixture
def store(s3, _s3_process, monkeypatch) -> Iterator[tuple[FaultyStore, str]]:
    put_pictures(f"{s3}/media", _NUM_PICTURES)
    with faulty_store(_s3_process.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield proxy, s3


def test_each_single_call_may_fail_in_every_way(store):
    proxy, base = store
    proxy.begin(lambda _: None)
    undisturbed = whole_job(base, "undisturbed")
    num_calls = len(proxy.calls)
    assert num_calls > 30
    assert sum(name.startswith("shards/") for name in undisturbed) == _NUM_PICTURES // 2
    runs = 0

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(number=st.integers(0, num_calls - 1), fault=st.sampled_from(FAULTS))
    def law(number: int, fault: Fault) -> None:
        nonlocal runs
        runs += 1
        proxy.begin(lambda call: fault if call == number else None)
        assert whole_job(base, f"run-{runs}") == undisturbed
        assert proxy.injected == [fault]

    law()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fifth_of_all_calls_may_fail(store, seed):
    proxy, base = store
    proxy.begin(lambda _: None)
    undisturbed = whole_job(base, "undisturbed")
    drawn = random.Random(seed)
    proxy.begin(lambda _: drawn.choice(FAULTS) if drawn.random() < 0.2 else None)
    assert whole_job(base, "disturbed") == undisturbed
    assert len(set(proxy.injected)) > 2


def test_a_store_that_never_answers_is_told_and_leaves_nothing(store):
    proxy, base = store
    proxy.begin(lambda _: "slow_down")
    with pytest.raises(TransientError, match="media"):
        Folder(f"{base}/media").read_bytes("0.png")
