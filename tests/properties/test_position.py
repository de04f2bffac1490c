"""Laws of where a reader stands: workers' walks tile an epoch, and go on from any state."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.order.resume_state import Position
from bitmill.schemas.errors import UsageError

POSITIONS = st.builds(Position, st.integers(0, 9), st.integers(0, 30))
WORKERS = st.integers(1, 5)


def in_turn(position: Position, num_workers: int, num_batches: int) -> list[int]:
    """Batches as the DataLoader takes them from its workers."""
    walks = [iter(position.walk(worker, num_workers).numbers(num_batches)) for worker in range(num_workers)]
    taken: list[int] = []
    while (number := next(walks[len(taken) % num_workers], None)) is not None:
        taken.append(number)
    assert all(next(walk, None) is None for walk in walks)
    return taken


@given(POSITIONS, WORKERS, st.integers(0, 40))
def test_workers_in_turn_have_every_batch_in_order(position, num_workers, num_batches):
    assert in_turn(position, num_workers, num_batches) == list(range(position.batch, num_batches))


@given(POSITIONS, WORKERS, st.integers(1, 40), st.data())
def test_a_worker_goes_on_behind_its_last_batch(position, num_workers, num_batches, data):
    worker = data.draw(st.integers(0, num_workers - 1))
    walk = position.walk(worker, num_workers)
    numbers = list(walk.numbers(num_batches))
    for place, number in enumerate(numbers):
        state = json.loads(json.dumps(walk.after(number).state()))
        again = Position.of_state(state | {"seed": 3, "order": 4}).walk(worker, num_workers)
        assert again.epoch == position.epoch
        assert list(again.numbers(num_batches)) == numbers[place + 1 :]


@given(POSITIONS, st.integers(0, 40))
def test_one_process_has_a_position_that_any_number_of_workers_takes(position, number):
    after = position.walk(0, 1).after(number)
    assert after == Position(position.epoch, number + 1)
    for num_workers in (1, 2, 3):
        assert in_turn(after, num_workers, number + 9) == list(range(number + 1, number + 9))


@given(POSITIONS, WORKERS, WORKERS, st.data())
def test_a_workers_position_is_that_of_no_other(position, num_workers, others, data):
    worker = data.draw(st.integers(0, num_workers - 1))
    other = data.draw(st.integers(0, others - 1))
    after = position.walk(worker, num_workers).after(position.batch + worker)
    if num_workers == 1 or (worker, num_workers) == (other, others):
        after.walk(other, others)
        return
    with pytest.raises(
        UsageError, match=f"belongs to worker {worker} of {num_workers}, not to worker {other} of"
    ):
        after.walk(other, others)
