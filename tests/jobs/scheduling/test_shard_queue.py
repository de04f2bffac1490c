"""Who gets which shard: whatever happens to actors, each shard is done once, in bounded attempts."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.jobs.scheduling.actor_events import Assignment, Loss
from bitmill.jobs.scheduling.retry_policy import DEATHS_OF_A_SOURCE, MOST_LOSSES, MOST_NODES_LOST
from bitmill.jobs.scheduling.shard_queue import ShardQueue
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import make_source


def _shards(count: int, sources: int = 3) -> list[PlannedShard]:
    return [
        PlannedShard(
            shard_id=f"shard-{number}",
            shard_index=number,
            first_source_index=number * sources,
            sources=tuple(make_source(number * sources + place) for place in range(sources)),
        )
        for number in range(count)
    ]


class Actors:
    """Actors as the queue sees them: each does what it was given, in order, until something befalls it."""

    def __init__(self, queue: ShardQueue) -> None:
        self.queue = queue
        self.given: dict[int, list[Assignment]] = {}
        self.next = 0
        self.finished: list[str] = []
        self.losses: Counter[str] = Counter()
        self.asked: list[Assignment] = []

    def join(self) -> None:
        self.given[self.next] = []
        self.queue.join(self.next)
        self.next += 1

    def hand_out(self) -> None:
        for assignment in self.queue.assign():
            self.given[assignment.actor].append(assignment)
        self.asked += self.queue.to_withdraw()
        for assignments in self.given.values():
            assert len(assignments) <= 2
        out = [assignment.shard.shard_id for assignments in self.given.values() for assignment in assignments]
        assert len(set(out)) == len(out)

    def answer(self) -> None:
        """An actor answers whether a shard that is asked back had not begun."""
        assignment = self.asked.pop()
        assignments = self.given.get(assignment.actor, [])
        if assignment in assignments and assignments[0] != assignment:
            assignments.remove(assignment)
            assert self.queue.withdrawn(assignment)

    def finish(self, actor: int) -> None:
        assignment = self.given[actor].pop(0)
        self.queue.finished(assignment)
        self.finished.append(assignment.shard.shard_id)

    def try_alone(self, actor: int, place: int | None) -> None:
        self.queue.trying(self.given[actor][0], place)

    def lose(self, actor: int, loss: Loss, *, committed: bool) -> None:
        at_work = self.given.pop(actor)[:1]
        for assignment in at_work:
            if committed:
                self.finished.append(assignment.shard.shard_id)
            elif loss is not Loss.REMOVED:
                self.losses[assignment.shard.shard_id] += 1
        self.queue.lost(actor, loss, committed=committed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_happens_every_shard_is_done_once_or_the_job_says_why_not(data):
    shards = _shards(data.draw(st.integers(1, 8)))
    queue = ShardQueue(shards)
    actors = Actors(queue)
    actors.join()
    try:
        for _ in range(data.draw(st.integers(0, 60))):
            actors.hand_out()
            busy = [actor for actor, given in actors.given.items() if given]
            isolated = [actor for actor in busy if actors.given[actor][0].isolation is not None]
            events = ["join"]
            events += ["finish", "lose"] if busy else []
            events += ["answer"] if actors.asked else []
            events += ["try"] if isolated else []
            match data.draw(st.sampled_from(events)):
                case "join":
                    actors.join()
                case "answer":
                    actors.answer()
                case "finish":
                    actors.finish(data.draw(st.sampled_from(busy)))
                case "try":
                    place = data.draw(st.none() | st.integers(0, 2))
                    actors.try_alone(data.draw(st.sampled_from(isolated)), place)
                case _:
                    actor = data.draw(st.sampled_from(busy))
                    committed = data.draw(st.booleans())
                    actors.lose(actor, data.draw(st.sampled_from(Loss)), committed=committed)
        actors.join()
        while queue.unfinished:
            actors.hand_out()
            while actors.asked:
                actors.answer()
            for actor in [actor for actor, given in actors.given.items() if given]:
                actors.finish(actor)
    except InfrastructureError:
        assert max(actors.losses.values()) >= 4
    else:
        assert sorted(actors.finished) == sorted(shard.shard_id for shard in shards)
    assert len(set(actors.finished)) == len(actors.finished)
    assert max(actors.losses.values(), default=0) <= MOST_LOSSES + MOST_NODES_LOST


@given(st.integers(1, 6), st.integers(0, 40))
def test_no_actor_waits_while_shards_do(num_actors, num_shards):
    queue = ShardQueue(_shards(num_shards))
    for actor in range(num_actors):
        queue.join(actor)
    given = queue.assign()
    assert len(queue.at_work) == min(num_actors, num_shards)
    ahead = len(given) - len(queue.at_work)
    # The last shards, one for each actor, stay for whoever is free first.
    assert ahead == min(num_actors, max(0, num_shards - 2 * num_actors + 1))
    for assignment in queue.at_work:
        queue.finished(assignment)
    assert len(queue.at_work) == ahead


def _isolate(queue: ShardQueue, loss: Loss = Loss.DIED) -> Assignment:
    for actor in range(2):
        queue.join(actor)
        (assignment,) = queue.assign()
        assert assignment.isolation is None
        queue.lost(actor, loss)
    queue.join(2)
    (assignment,) = queue.assign()
    assert assignment.isolation is not None
    return assignment


@pytest.mark.parametrize(
    ("loss", "reason", "told"),
    [
        (Loss.DIED, Reason.DECODER_CRASHED, "The tokenizer's process died when processing it alone"),
        (Loss.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, "The tokenizer's process ran out of memory"),
        (Loss.HUNG, Reason.DECODE_TIMEOUT, "The tokenizer's process hung when processing it alone"),
    ],
)
def test_a_shard_that_kills_its_actors_is_isolated_to_the_source_that_does_it(loss, reason, told):
    queue = ShardQueue(_shards(1))
    assignment = _isolate(queue)
    for attempt in range(DEATHS_OF_A_SOURCE):
        isolation = assignment.isolation
        assert isolation is not None
        assert isolation.try_from == attempt  # what was tried before the suspect is not tried again
        queue.trying(assignment, 1)
        queue.lost(assignment.actor, loss)
        queue.join(10 + attempt)
        (assignment,) = queue.assign()
    isolation = assignment.isolation
    assert isolation is not None
    assert isolation.try_from == 2
    assert list(isolation.skipped) == [1]
    assert isolation.skipped[1].reason is reason
    assert told in isolation.skipped[1].detail
    queue.trying(assignment, None)
    queue.finished(assignment)
    assert queue.unfinished == 0


def test_a_shard_that_kills_its_actors_without_a_source_at_fault_ends_the_job():
    queue = ShardQueue(_shards(1))
    assignment = _isolate(queue)
    queue.trying(assignment, None)
    queue.lost(2, Loss.DIED)
    queue.join(3)
    (assignment,) = queue.assign()
    with pytest.raises(InfrastructureError, match=r"Shard shard-0 lost its actor 4 times \(no memory\)"):
        queue.lost(3, Loss.DIED, detail="no memory")


def test_nodes_that_go_are_no_fault_of_a_shard():
    queue = ShardQueue(_shards(1))
    for actor in range(MOST_NODES_LOST - 1):
        queue.join(actor)
        (assignment,) = queue.assign()
        assert assignment.isolation is None
        queue.lost(actor, Loss.NODE_LOST)
    queue.join(99)
    queue.assign()
    with pytest.raises(InfrastructureError, match="lost its actor 50 times"):
        queue.lost(99, Loss.NODE_LOST)


def test_a_shard_given_ahead_costs_no_attempt_when_its_actor_is_lost():
    queue = ShardQueue(_shards(3))
    for actor in range(4):
        queue.join(actor)
        at_work, ahead = queue.assign()
        assert ahead.shard.shard_id == "shard-1"
        # The one at work was committed each time, or the driver ended the actor: neither counts.
        queue.lost(actor, Loss.REMOVED)
        assert at_work.shard.shard_id == "shard-0"
    assert queue.unfinished == 3


def test_a_shard_ahead_of_a_slow_actor_goes_to_an_idle_one():
    queue = ShardQueue(_shards(2))
    queue.join(0)
    _, ahead = queue.assign()
    queue.join(1)
    assert queue.assign() == []
    assert queue.to_withdraw() == [ahead]
    assert queue.to_withdraw() == []
    assert queue.withdrawn(ahead)
    (again,) = queue.assign()
    assert (again.actor, again.shard) == (1, ahead.shard)


def test_a_shard_that_comes_back_late_is_not_lost():
    queue = ShardQueue(_shards(2))
    queue.join(0)
    first, ahead = queue.assign()
    queue.join(1)
    assert queue.to_withdraw() == [ahead]
    queue.finished(first)  # its report was faster than the answer
    assert queue.withdrawn(ahead)
    assert [assignment.shard for assignment in queue.assign()] == [ahead.shard]


def test_stopping_takes_back_what_has_not_begun_and_gives_nothing_out():
    queue = ShardQueue(_shards(5))
    queue.join(0)
    first, ahead = queue.assign()
    queue.stop()
    assert queue.to_withdraw() == [ahead]
    assert queue.withdrawn(ahead)
    queue.finished(first)
    assert queue.assign() == []
    assert (queue.at_work, queue.unfinished) == ([], 4)
