"""Freed blocks are used again, in a process of its own: the suite's keep theirs already."""

import subprocess
import sys

_FAULTS_OF_TEN_BLOCKS = """
import resource, sys
from bitmill.bsq_model.acceleration.freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
taken = bytearray(24 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    del taken
    taken = bytearray(24 << 20)
    taken[::4096] = b"1" * (6 << 10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(way: str) -> int:
    told = subprocess.run(
        [sys.executable, "-c", _FAULTS_OF_TEN_BLOCKS, way], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def test_pages_of_freed_blocks_are_kept():
    # Pages of 4 KiB are 6,144 a block; huge ones would be fewer on both sides.
    kept, returned = _faults("kept"), _faults("returned")
    assert kept < returned / 4
