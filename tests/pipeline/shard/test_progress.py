"""Reports of a shard that are summed to fewer ones."""

from dataclasses import fields
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.shard.progress import EndedItem, ShardProgress, ShardReport, fewer_reports
from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.outcomes import Outcome, Reason

_ITEMS = st.builds(
    EndedItem,
    source=st.sampled_from("ab"),
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from([None, Reason.CORRUPT, Reason.REMOVED]),
    detail=st.none(),
    key=st.sampled_from([None, "1.mp4"]),
    place=st.integers(0, 3),
    size_bytes=st.integers(0, 9),
)
_REPORTS = st.one_of(
    st.builds(ShardProgress, shard_id=st.just("s"), clips=st.integers(1, 3), frames=st.integers(1, 9)),
    st.builds(
        ShardProgress.of_item,
        st.just("s"),
        _ITEMS,
        added_items=st.integers(0, 1),
        seconds=st.just({"wait": 0.5}),
    ),
)


@given(st.lists(st.tuples(_REPORTS, st.sampled_from([0.0, 0.4, 1.0, 5.0])), min_size=1))
def test_fewer_reports_tell_the_same_and_at_most_one_in_the_interval(reports):
    now = [100.0]
    end = ShardReport(shard_id="s", totals=Totals(), seconds={})

    def events():
        for report, pause_s in reports:
            now[0] += pause_s
            yield report
        yield end

    told = [(event, now[0]) for event in fewer_reports(events(), 1.0, lambda: now[0])]
    *progress, last = [event for event, _ in told]
    assert last is end
    whole = ShardProgress.sum([event for event in progress if isinstance(event, ShardProgress)])
    wanted = ShardProgress.sum([report for report, _ in reports])
    for field in fields(ShardProgress):
        assert getattr(whole, field.name) == getattr(wanted, field.name)
    # The last one does not wait: the shard's end follows it.
    times = [time for _, time in told[:-2]]
    assert all(after - before >= 1.0 for before, after in pairwise(times))
