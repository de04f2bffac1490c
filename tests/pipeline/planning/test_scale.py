"""The benchmark of planning and resuming runs, and its steps give the same dataset."""

import json

import pytest

from tests.support.commands import run_module


@pytest.mark.slow
def test_the_planning_benchmark_accounts_for_every_source():
    done = run_module("benchmarks.planning", "--sources", "3300", "--committed", "110")
    assert done.code == 0, done.err
    told, _ = json.JSONDecoder().raw_decode(done.out)
    assert [step["count"] for step in told["steps"]] == [110, 110, 110, 3300, 3300]
    assert all(step["peak_bytes"] > 0 for step in told["steps"])
