"""The memory that an estimate says a batch takes."""

import sys

import numpy as np
import pytest

from bitmill.jobs.preparation.models.job_tokenizer import job_tokenizer
from bitmill.jobs.preparation.models.measure_tokenizer import measure_tokenizer
from tests.support.fakes import make_job

pytestmark = pytest.mark.usefixtures("briefly_timed")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells the peak of a process")
def test_memory_that_is_free_before_counts_for_a_batch():
    job = make_job(
        tokenizer={"bundled": "small-1"},
        frames={"buckets": [[128, 128]]},
        compute={"device": "cpu", "batch_frames": 64},
    )
    tokenizer = job_tokenizer(job)
    # A large block that was freed makes glibc take large ones from the heap; the last small one pins its top.
    block = np.ones(30 << 20, np.uint8)
    del block
    heap = [np.ones(100_000, np.uint8) for _ in range(2000)]
    del heap[:-1]
    batch = measure_tokenizer(tokenizer, job, (128, 128)).batch
    assert batch.memory_bytes is not None
    # As many bytes as the 64 frames have as float32.
    assert batch.memory_bytes > 64 * 128 * 128 * 3 * 4
    assert len(heap) == 1
