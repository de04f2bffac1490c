"""A process that is forked while threads hold the reader's locks can take them all the same."""

import multiprocessing
from contextlib import ExitStack

from pipeline.reading import TokenDataset
from pipeline.reading.buffers import BufferPool
from tests.support.random_datasets import write_dataset


def _ends_well(work) -> bool:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    ended = process.exitcode
    process.kill()
    return ended == 0


def test_locks_that_are_held_at_the_fork_are_free_in_it(tmp_path):
    write_dataset(str(tmp_path), [[(4, 2, 2)] * 3] * 2)
    dataset = TokenDataset(tmp_path, columns=("clip_id",))
    files = dataset.clips.parts[0].files
    pool = BufferPool(4)
    expected = dataset[5]["tokens"]

    def read() -> None:
        assert dataset[5]["tokens"].equal(expected)
        assert len(pool.take(100)) == 100

    assert _ends_well(read)
    with ExitStack() as held:
        for one in (dataset, files, pool):
            held.enter_context(one._lock)
        assert _ends_well(read)
