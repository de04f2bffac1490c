"""What is decoded for an actor: in order, never more than the window, the next shard's as this one's ends."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.scheduling.decode_pace import DecodePace
from bitmill.jobs.scheduling.decode_window import DecodingWindow
from bitmill.pipeline.items import ItemEvent
from bitmill.schemas.dataset.plan_schema import PlannedSource
from tests.support.fakes import make_item, make_source


class Tasks:
    """Decoding tasks that are only counted."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.taken: list[str] = []
        self.cancelled: list[str] = []
        self.open = self.most_open = 0

    def begin(self, source: PlannedSource) -> "Task":
        self.begun.append(source.uri)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return Task(self, source)


class Task:
    def __init__(self, tasks: Tasks, source: PlannedSource) -> None:
        self._tasks = tasks
        self.source = source

    def events(self) -> Iterator[ItemEvent]:
        self._tasks.taken.append(self.source.uri)
        yield from make_item(0, [1])
        self._tasks.open -= 1

    def cancel(self) -> None:
        self._tasks.cancelled.append(self.source.uri)
        self._tasks.open -= 1


def _take(items: Iterator[Iterator[ItemEvent]]) -> int:
    return sum(len(list(events)) == 2 for events in items)


@given(st.integers(1, 6), st.lists(st.integers(0, 8), min_size=1, max_size=4))
def test_each_item_is_decoded_once_in_order_within_the_window(size, lengths):
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    shards = [[make_source(100 * shard + n) for n in range(length)] for shard, length in enumerate(lengths)]
    for number, sources in enumerate(shards):
        items = window.items(number, sources, DecodePace(size, size))
        first = next(items, None)
        if number + 1 < len(shards):
            window.expect(number + 1, shards[number + 1])
        taken = (len(list(first)) == 2 if first is not None else 0) + _take(items)
        assert taken == len(sources)
    assert tasks.begun == [source.uri for sources in shards for source in sources]
    assert tasks.taken == tasks.begun
    assert tasks.most_open <= size
    assert (tasks.open, tasks.cancelled) == (0, [])


def test_the_next_shards_decoding_begins_while_this_ones_ends():
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    window.expect(2, [make_source(10), make_source(11), make_source(12)])
    items = window.items(1, [make_source(0), make_source(1)], DecodePace(3, 3))
    list(next(items))
    assert tasks.begun == [make_source(n).uri for n in (0, 1, 10)]
    list(next(items))
    assert tasks.begun[-1] == make_source(11).uri


def test_a_shards_decoding_begins_before_it_is_read():
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    sources = [make_source(n) for n in range(3)]
    window.expect(2, [make_source(10)])
    window.expect(1, sources, begin=2)
    assert tasks.begun == [source.uri for source in sources[:2]]
    assert _take(window.items(1, sources, DecodePace(2, 2))) == 3
    assert tasks.taken == [source.uri for source in sources]


@given(st.data(), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_sources_are_their_shards_whenever_a_shard_is_told(data, size, lengths):
    """A shard may be told long before the one ahead of it has begun, or too late to begin early."""
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    shards = [[make_source(100 * shard + n) for n in range(length)] for shard, length in enumerate(lengths)]
    told = 0
    for number, sources in enumerate(shards):
        for events in window.items(number, sources, DecodePace(size, size)):
            upto = data.draw(st.integers(told, min(len(shards), number + 3)), label="told")
            for following in range(max(told, number + 1), upto):
                window.expect(following, shards[following])
            told = max(told, upto)
            list(events)
    assert tasks.taken == [source.uri for sources in shards for source in sources]
    assert sorted(tasks.begun) == sorted(tasks.taken)
    assert (tasks.open, tasks.cancelled) == (0, [])


def test_what_was_begun_of_a_shard_that_does_not_follow_is_ended():
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    window.expect(2, [make_source(10)])
    assert _take(window.items(1, [make_source(0)], DecodePace(4, 4))) == 1
    assert tasks.begun[-1] == make_source(10).uri
    window.forget(3)
    assert tasks.cancelled == []
    window.forget(2)
    assert tasks.cancelled == [make_source(10).uri]
    assert _take(window.items(4, [make_source(20)], DecodePace(4, 4))) == 1


def test_a_shard_that_is_left_in_the_middle_ends_its_decoding():
    tasks = Tasks()
    items = DecodingWindow(tasks.begin).items(1, [make_source(n) for n in range(5)], DecodePace(3, 3))
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert tasks.cancelled == [make_source(n).uri for n in range(3)]


def test_what_was_begun_of_a_shard_that_lost_sources_is_begun_anew():
    tasks = Tasks()
    window = DecodingWindow(tasks.begin)
    window.expect(2, [make_source(n) for n in (10, 11, 12)])
    assert _take(window.items(1, [make_source(0)], DecodePace(3, 3))) == 1
    assert _take(window.items(2, [make_source(11), make_source(12)], DecodePace(3, 3))) == 2
    assert tasks.taken == [make_source(n).uri for n in (0, 11, 12)]
    assert set(tasks.cancelled) == {make_source(n).uri for n in (10, 11)}
    assert tasks.open == 0
