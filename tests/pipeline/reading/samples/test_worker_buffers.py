"""Batches of worker processes: in memory that is used again, but never while their receiver has any of it."""

import gc
import os
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from bitmill.pipeline.reading import TokenBatches, TokenDataset, TokenLoader
from bitmill.pipeline.reading.samples import worker_buffers
from bitmill.pipeline.reading.samples.worker_buffers import WorkerBuffers, received
from tests.support.token_datasets import store_dataset


@pytest.fixture
def buffers() -> WorkerBuffers:
    return WorkerBuffers(8)


def passed_on(buffers: WorkerBuffers, values: list[int]) -> torch.Tensor:
    """What arrives of an array with these values."""
    array = buffers.empty((len(values),), np.int64)
    array[:] = values
    lent = buffers.lend(torch.from_numpy(array))
    return received(pickle.loads(bytes(ForkingPickler.dumps(lent))))


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


HOLDERS = {
    "the tensor": lambda tensor: tensor,
    "a slice": lambda tensor: tensor[1:],
    "an element": lambda tensor: tensor[1],
    "an array": lambda tensor: tensor.numpy()[::2],
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_buffer_is_used_again_when_all_that_arrived_is_dropped(buffers, holder):
    held = HOLDERS[holder](passed_on(buffers, [1, 2, 3, 4]))
    before = held.tolist()
    others = [passed_on(buffers, [9, 9, 9, 9]) for _ in range(3)]
    assert held.tolist() == before
    assert len({other.data_ptr() for other in others}) == 3
    places = {other.data_ptr() for other in others}
    del others
    assert passed_on(buffers, [5, 6, 7, 8]).tolist() == [5, 6, 7, 8]
    assert {passed_on(buffers, [number] * 4).data_ptr() for number in range(4)} <= places


def test_a_buffer_is_sent_once_and_forgotten_with_its_pool(buffers):
    array = buffers.empty((3,), np.int64)
    first = buffers.lend(torch.from_numpy(array))
    assert first.buffer is not None
    received(first)
    again = buffers.lend(torch.from_numpy(array))
    assert again.buffer is None
    received(again)
    del array
    for size in (300, 5000, 70_000):
        passed_on(buffers, [7] * size)
    # Each size had no use for the ones before.
    assert len(worker_buffers._RECEIVED[first.pool]) == 1


def test_a_process_that_the_receiver_forks_does_not_give_its_batches_back(buffers):
    held = passed_on(buffers, [1, 2, 3])
    child = os.fork()
    if not child:
        del held
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert passed_on(buffers, [4, 5, 6]).data_ptr() != held.data_ptr()
    assert held.tolist() == [1, 2, 3]


@pytest.fixture
def batches(tmp_path) -> TokenBatches:
    store_dataset(tmp_path, [[(2, 2, 3)] * 30, [(2, 2, 3)] * 34])
    return TokenBatches(TokenDataset(tmp_path, view="integers"), batch_size=2, shuffle=True)


def test_batches_of_workers_stay_what_they_are_as_long_as_they_are_held(batches):
    expected = [batch["tokens"].clone() for batch in batches]
    batches.set_epoch(0)
    held = [batch["tokens"] for batch in TokenLoader(batches, num_workers=2)]
    assert same(held, expected)


def test_batches_that_are_dropped_share_few_buffers_which_go_with_the_workers(batches):
    others = set(worker_buffers._RECEIVED)
    loader = iter(TokenLoader(batches, num_workers=2))
    places = {next(loader)["tokens"].data_ptr() for _ in range(len(batches))}
    # Of each worker: two sent ahead, one made ahead, one being made, one here.
    assert len(places) <= 10 < len(batches)
    assert len(worker_buffers._RECEIVED.keys() - others) == 2
    loader.close()
    del loader
    gc.collect()
    assert not worker_buffers._RECEIVED.keys() - others


class Changed(IterableDataset):
    """Does with batches, in a worker process, what a user may do."""

    def __init__(self, batches: TokenBatches, change) -> None:
        self.batches, self.change = batches, change

    def __iter__(self):
        for batch in self.batches:
            yield from self.change(batch)


def _replaced(batch):
    batch["tokens"] = batch["tokens"] + 1
    yield batch


def _as_dict(batch):
    yield {"tokens": batch["tokens"][1:]}


def _twice(batch):
    yield batch
    yield batch


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_replaced, lambda tokens: [tokens + 1]),
        (_as_dict, lambda tokens: [tokens[1:]]),
        (_twice, lambda tokens: [tokens, tokens]),
    ],
)
def test_what_a_worker_makes_of_its_batches_arrives_as_such(batches, change, expected):
    whole = [one for batch in batches for one in expected(batch["tokens"].clone())]
    batches.set_epoch(0)
    loader = DataLoader(Changed(batches, change), batch_size=None, num_workers=1)
    arrived = [batch["tokens"] for batch in loader]
    assert same(arrived, whole)
