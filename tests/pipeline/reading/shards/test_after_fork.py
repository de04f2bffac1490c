"""A process that is forked while threads hold the reader's locks can take them all the same."""

import sys

import pytest

from tests.support.commands import finish
from tests.support.random_datasets import write_dataset

# In a process of its own: the suite has threads of many libraries, whose locks a fork would copy, too.
_FORKS = """
import faulthandler
import multiprocessing
import sys
from contextlib import ExitStack

from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool
from bitmill.pipeline.reading.shards.shard_files import _OPEN

dataset = TokenDataset(sys.argv[1], columns=("clip_id",))
pool = BufferPool(4)
expected = dataset[5]["tokens"]


def read():
    # Should it hang, this tells where.
    faulthandler.dump_traceback_later(50)
    assert dataset[5]["tokens"].equal(expected)
    assert len(pool.take(100)) == 100


def forked():
    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(60)
    ended = process.exitcode
    process.kill()
    return ended


print("free", forked())
with ExitStack() as held:
    for one in (dataset, _OPEN, pool):
        held.enter_context(one._lock)
    print("held", forked())
"""


@pytest.mark.slow
def test_locks_that_are_held_at_the_fork_are_free_in_it(tmp_path):
    write_dataset(str(tmp_path), [[(4, 2, 2)] * 3] * 2)
    done = finish([sys.executable, "-c", _FORKS, str(tmp_path)])
    assert (done.code, done.out) == (0, "free 0\nheld 0\n"), done.err
