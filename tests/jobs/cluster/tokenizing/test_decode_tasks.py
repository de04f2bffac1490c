"""What a decoding task's death or hang costs, on scripted attempts instead of Ray's."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import GetTimeoutError, ObjectLostError, WorkerCrashedError

from bitmill.jobs.cluster.tokenizing import decode_tasks
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemStart, MediaFacts, SourceEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import make_clip, make_job

TAR = PlannedSource(uri="/x.tar", size_bytes=1, version="")
SETTINGS = DecodeSettings.of(make_job(), squares(16), pixel_rule=2)
DEATH, HANG = WorkerCrashedError(), TimeoutError()
LOSS, OUT_OF_REACH = ObjectLostError("0" * 56, None, ""), GetTimeoutError()
REASONS = {DEATH: Reason.DECODER_CRASHED, HANG: Reason.DECODE_TIMEOUT}


class Scripted(decode_tasks.SourceTask):
    """An archive of items with so many clips; ``faults`` strike each attempt before an item's n-th event, and
    ``passing`` ones once."""

    def __init__(
        self, clips: list[int], faults: dict[tuple[int, int], Exception], passing=(), *, loses_starts=False
    ) -> None:
        self._loses_starts = loses_starts
        self._clips = clips
        self._faults = faults
        self._passing = dict(passing)
        self.asked: list[tuple[int, int | None]] = []
        """CPUs of each attempt, and the events that it may give before they are taken."""
        super().__init__(TAR, SETTINGS, decode_tasks.TaskPlacement(name="test", node_id=""), lambda: None)

    def _submit(self, num_cpus: int, values: int | None = None) -> None:
        self._skip = self._ended_items
        self.asked.append((num_cpus, values))

    def cancel(self) -> None:
        pass

    def _attempt(self) -> Iterator[SourceEvent]:
        for item, count in list(enumerate(self._clips))[self._skip :]:
            events: list[SourceEvent] = [ItemStart(key=str(item), size_bytes=1)]
            events += [make_clip(item * 100 + clip, num_frames=1) for clip in range(count)]
            events.append(ItemEnd(facts=MediaFacts()))
            is_passed_over = item == self._skip and self._instead is not None
            if is_passed_over:
                events[1:] = [self._instead]  # type: ignore[list-item]
            for place, event in enumerate(events):
                if self._loses_starts and is_passed_over:
                    yield event
                    continue
                for fault in (self._passing.pop((item, place), None), self._faults.get((item, place))):
                    if fault is not None:
                        raise fault
                yield event


def _told(source: Scripted):
    """(key, clips, reason) of each item."""
    told: list[tuple[str | None, int, Reason | None]] = []
    key, clips = None, 0
    for event in source.events():
        if isinstance(event, ItemStart):
            key, clips = event.key, 0
        elif isinstance(event, DecodedClip):
            clips += 1
        else:
            told.append((key, clips, event.reason))
    return told


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([None, DEATH, HANG]), st.integers(0, 9)), min_size=1
    )
)
def test_each_death_or_hang_costs_its_item_and_no_clip_comes_twice(items):
    # An event behind the start strikes while the item is open.
    faults = {
        (number, 1 + at % (count + 1)): fault for number, (count, fault, at) in enumerate(items) if fault
    }
    expected = [
        (str(number), count if fault is None else at % (count + 1), REASONS.get(fault) if fault else None)
        for number, (count, fault, at) in enumerate(items)
    ]
    assert _told(Scripted([count for count, _, _ in items], faults)) == expected


def test_a_passing_death_costs_nothing_however_many_items_have_one():
    passing = {(number, 1): DEATH for number in range(5)} | {(2, 2): LOSS, (4, 2): OUT_OF_REACH}
    source = Scripted([2] * 5, {}, passing)
    assert _told(source) == [(str(number), 2, None) for number in range(5)]
    # Only the first attempt waits for a CPU.
    assert source.asked == [(1, None)] + [(0, 1)] * 7


@pytest.mark.parametrize("fault", [DEATH, HANG])
def test_a_death_before_an_item_is_known_tells_that_the_rest_is_missing(fault):
    told = _told(Scripted([1, 1, 1], {(1, 0): fault}))
    assert told == [("0", 1, None), (None, 0, REASONS[fault])]


@pytest.mark.parametrize("fault", [DEATH, HANG])
def test_an_item_that_dies_before_it_is_known_is_named_by_the_next_attempt(fault):
    told = _told(Scripted([1, 1, 1, 1], {(1, 0): fault, (2, 0): fault}, loses_starts=True))
    assert told == [("0", 1, None), ("1", 0, REASONS[fault]), ("2", 0, REASONS[fault]), ("3", 1, None)]


@pytest.mark.parametrize("loss", [LOSS, OUT_OF_REACH])
def test_a_cluster_that_loses_an_item_time_and_again_is_told(loss):
    with pytest.raises(InfrastructureError, match=r"lost the decoding task of /x\.tar 5 times"):
        _told(Scripted([1, 1], {(1, 1): loss}))
