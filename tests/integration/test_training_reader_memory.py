"""A reader's memory is bounded by its windows, whatever the size of a shard's file."""

from pathlib import Path

import pytest

from tests.support.commands import ended, script
from tests.support.token_datasets import store_dataset

CLIP = (16, 16, 16)
CLIP_BYTES = 16 * 16 * 16 * 18 // 8
MIB = 2**20
LARGE_BYTES = 210 * MIB

READ = """
import sys
from bitmill.pipeline.reading import Clips, GridBuckets, TokenBatches, TokenDataset

def peak():
    # getrusage's peak would begin with that of the process that has started it.
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

def read(folder):
    dataset = TokenDataset(folder, view="integers")
    shuffle, shape = sys.argv[3] != "in order", GridBuckets() if sys.argv[3] == "buckets" else Clips()
    batches = TokenBatches(dataset, batch_size=64, shuffle=shuffle, shape=shape, remainder="keep")
    return sum(int(batch["valid"].sum()) for _ in range(2) for batch in batches)

# What is loaded and compiled at the first batch is not the reader's to bound.
read(sys.argv[1])
before = peak()
print(read(sys.argv[2]), peak() - before)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of one batch, and one whose only shard is larger than all that may be held."""
    place = tmp_path_factory.mktemp("memory")
    store_dataset(place / "small", [[CLIP] * 64], row_group_bytes=4 * MIB)
    num_clips = LARGE_BYTES // CLIP_BYTES
    store_dataset(place / "large", [[CLIP] * num_clips], row_group_bytes=4 * MIB)
    return place / "small", place / "large"


@pytest.mark.slow
@pytest.mark.parametrize("order", ["shuffled", "in order", "buckets"])
def test_memory_stays_below_200_mb_whatever_the_file_size(folders, tmp_path, order):
    small, large = folders
    (tmp_path / "read.py").write_text(READ)
    done = ended(script(tmp_path / "read.py", str(small), str(large), order))
    assert done.code == 0, done.err
    clips, grown = map(int, done.out.split())
    assert clips == 2 * (LARGE_BYTES // CLIP_BYTES)
    assert grown < 200e6
