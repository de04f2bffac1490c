"""What the death or hang of a bundle's process costs, on scripted attempts instead of Ray's."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import WorkerCrashedError

from bitmill.jobs.cluster.tokenizing import bundle_task
from bitmill.jobs.cluster.tokenizing.decode_tasks import TaskPlacement
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_bundles import MESSAGE_S, Bundle, Waiting
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged
from bitmill.pipeline.items import DecodedClip, ItemEnd, MediaFacts, SourceEvent
from tests.support.fakes import make_clip, make_job, make_source

_CLIPS = 2


def _events(number: int) -> list[SourceEvent]:
    clips = [make_clip(10 * number + clip, num_frames=1) for clip in range(_CLIPS)]
    return [*clips, ItemEnd(facts=MediaFacts(), detail=str(number))]


class Scripted(bundle_task.BundleTask):
    """Sources of two clips; in a bundle those of ``faults`` bring the process down before so many events."""

    def __init__(self, count: int, faults: dict[int, int]) -> None:
        self._faults = faults
        self._numbers = {make_source(number).uri: number for number in range(count)}
        self.together: list[int] = []
        """How many sources each bundle had."""
        self.alone: list[int] = []
        sources = tuple(make_source(number) for number in range(count))
        settings = DecodeSettings.of(make_job(), squares(16), pixel_rule=2)
        super().__init__(Bundle(sources), settings, TaskPlacement(name="test", node_id=""), lambda: None)

    def _submit(self, sources, *, num_cpus):
        assert num_cpus == (0 if self.together else 1)
        self.together.append(len(sources))

    def cancel(self):
        pass

    def _messages(self, sources):
        for source in sources:
            number = self._numbers[source.uri]
            yield _events(number)[: self._faults.get(number)]
            if number in self._faults:
                raise WorkerCrashedError

    def _by_itself(self, source, taken):
        self.alone.append(self._numbers[source.uri])
        yield from _events(self._numbers[source.uri])[taken:]


@given(st.integers(2, 12), st.dictionaries(st.integers(0, 11), st.integers(0, _CLIPS), max_size=6))
def test_each_event_comes_once_whatever_befalls_the_bundle(count, faults):
    task = Scripted(count, faults)
    told = list(task.events())
    expected = [event for number in range(count) for event in _events(number)]
    assert [_name(event) for event in told] == [_name(event) for event in expected]


def test_the_rest_is_decoded_together_again_unless_it_fails_time_and_again():
    once = Scripted(400, {7: 1})
    assert len(list(once.events())) == 400 * 3
    assert (once.together, once.alone) == ([400, 392], [7])
    often = Scripted(10, dict.fromkeys(range(10), 0))
    assert len(list(often.events())) == 10 * 3
    assert (often.together, often.alone) == ([10, 9, 8], list(range(10)))


def test_only_a_copy_is_given_more_time_than_an_item(monkeypatch):
    item_s = 120.0 + MESSAGE_S
    copy_s = item_s + 300
    marks = [Staged(), [], Waiting(), Staged(), Staged(), [], [], Waiting(), Staged(), []]
    given = [None, item_s, item_s, None, copy_s, item_s, item_s, item_s, None, copy_s, copy_s]
    seen: list[float | None] = []

    def next_value(generator, timeout_s, beat):
        seen.append(timeout_s)
        return next(generator)

    class Marked(bundle_task.BundleTask):
        def _submit(self, sources, *, num_cpus):
            self._generator = iter(marks)

    monkeypatch.setattr(bundle_task, "next_value", next_value)
    spans = tuple(replace(make_source(1, size_bytes=300_000_000), start_ns=second) for second in range(9))
    settings = DecodeSettings.of(make_job(), squares(16), pixel_rule=2)
    task = Marked(Bundle(spans), settings, TaskPlacement(name="test", node_id=""), lambda: None)
    assert list(task._messages(spans)) == [[]] * 4
    assert seen == given


def _name(event: SourceEvent) -> object:
    return event.frames_THWC.tobytes() if isinstance(event, DecodedClip) else event
