"""Buffers: never given out while anyone holds them in whatever form, and used again once nobody does."""

import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from bitmill.pipeline.reading.kernels.unpack import address_of
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(4)


def test_a_dropped_buffer_is_given_out_again(pool):
    first = pool.take(100)
    place = address_of(first)
    assert first.dtype == np.uint8
    del first
    for _ in range(3):
        assert address_of(pool.take(100)) == place


HOLDERS = {
    "the array": lambda array: array,
    "a slice": lambda array: array[40:41],
    "a slice of a slice": lambda array: array[10:][5:7],
    "a view of another type": lambda array: array[:96].view(np.int64).reshape(3, 4),
    "a memoryview": lambda array: array.data,
    "a tensor": torch.from_numpy,
    "a tensor's slice": lambda array: torch.from_numpy(array[:96].view(np.float32))[3:5],
    "a tensor's element": lambda array: torch.from_numpy(array)[7],
    "a tensor of another shape": lambda array: torch.from_numpy(array).view(10, 10).T[1:],
    "a tensor's array": lambda array: torch.from_numpy(array).numpy()[::2],
    "a detached tensor": lambda array: torch.from_numpy(array).detach(),
    "a tensor's storage": lambda array: torch.from_numpy(array).untyped_storage(),
    "another library's tensor": lambda array: torch.utils.dlpack.to_dlpack(torch.from_numpy(array)),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_held_buffer_is_not_given_out(pool, holder):
    array = pool.take(100)
    place = address_of(array)
    held = HOLDERS[holder](array)
    del array
    others = [pool.take(100) for _ in range(3)]
    assert place not in [address_of(other) for other in others]
    del held, others
    assert place in [address_of(one) for one in [pool.take(100) for _ in range(4)]]


def test_buffers_of_one_level_are_used_again_for_smaller_requests():
    pool = pickle.loads(pickle.dumps(BufferPool(4, level=True)))
    place = address_of(pool.take(100))
    for size in (10, 100, 1, 60):
        assert len(pool.take(size)) == 100
        assert address_of(pool.take(size)) == place
    assert len(pool.take(300)) == len(pool.take(20)) == 300


def test_a_buffer_is_at_most_a_quarter_larger_than_asked_for(pool):
    place = address_of(pool.take(100))
    assert address_of(pool.take(80)) == place
    assert address_of(pool.take(100)) == place
    assert len(pool.take(79)) == 79


def test_free_buffers_that_fit_no_more_are_not_kept(pool):
    held = pool.take(100)
    for size in (200, 300, 400, 500):
        pool.take(size)
    assert sum(len(array) for array in pool._arrays) == 600
    assert len(held) == 100


def test_sizes_that_alternate_are_used_again(pool):
    """A window now and then is of a shorter row group than the others."""
    held = [pool.take(100), pool.take(100), pool.take(30)]
    places = {address_of(array) for array in held}
    held.clear()
    for size in (100, 30, 100, 30):
        assert address_of(pool.take(size)) in places


def test_few_are_kept(pool):
    held = [pool.take(10) for _ in range(9)]
    places = {address_of(array) for array in held}
    assert len(places) == 9
    held.clear()
    again = [pool.take(10) for _ in range(9)]
    assert len(places & {address_of(array) for array in again}) >= 4


def test_nothing_is_asked_for(pool):
    assert len(pool.take(0)) == 0


def test_threads_never_share_a_buffer():
    """Each thread keeps some buffers for a while; what it wrote must be what it finds."""
    pool = BufferPool(8)
    begin = threading.Barrier(8)

    def work(number: int) -> int:
        chosen = random.Random(number)
        held: list[torch.Tensor] = []
        begin.wait()
        for step in range(400):
            array = pool.take(chosen.choice((64, 100)))
            array[:] = number
            held.append(torch.from_numpy(array)[8:])
            del array
            for tensor in held:
                assert bool((tensor == number).all()), step
            if len(held) > chosen.randint(0, 3):
                held.pop(0)
        return number

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == list(range(8))


def test_a_pool_pickles_without_its_buffers(pool):
    held = pool.take(1_000_000)
    copy = pickle.loads(pickle.dumps(pool))
    assert len(pickle.dumps(pool)) < 1000
    assert address_of(copy.take(1_000_000)) != address_of(held)
