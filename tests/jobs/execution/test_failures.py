"""A run's failures, counted as they come."""

from bitmill.jobs.execution.failures import Failures
from bitmill.pipeline.shard.progress import EndedItem, ShardProgress
from bitmill.schemas.outcomes import Outcome, Reason


def _failed(shard_id: str, reason: Reason, *, key: str | None = None, added_items: int = 0) -> ShardProgress:
    item = EndedItem(source=f"/{shard_id}", outcome=Outcome.FAILED, reason=reason, detail="why", key=key)
    return ShardProgress.of_item(shard_id, item, added_items=added_items)


def test_a_shard_that_restarts_takes_its_failures_back():
    failures = Failures()
    assert failures.advance(_failed("a", Reason.CORRUPT))
    assert not failures.advance(_failed("b", Reason.NO_FRAMES, key="1.mp4", added_items=1))
    assert not failures.advance(_failed("b", Reason.REMOVED))
    assert (failures.count, failures.added_items) == (2, 1)
    assert failures.told() == "corrupt 1 times, no_frames 1 times in this run; the last was /b (why)"
    failures.drop("b")
    failures.drop("never begun")
    assert (failures.count, failures.added_items) == (1, 0)
