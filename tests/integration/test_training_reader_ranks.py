"""In a group of torch.distributed each rank takes its share of every batch, without being told its place."""

import json

import pytest

from tests.support.commands import WITH_TESTS, ended, script
from tests.support.readers import ids_of, odd_batches, write_odd_dataset

_RANKS = """
import json, sys
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DataLoader
from bitmill.pipeline.reading import TokenLoader
from tests.support.readers import ids_of, odd_batches

def run(rank, uri, place):
    dist.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=2)
    batches = odd_batches(uri)
    batches.set_epoch(0)
    told = {
        "plain": ids_of(odd_batches(uri)),
        "fork": ids_of(TokenLoader(odd_batches(uri), num_workers=2, multiprocessing_context="fork")),
        "spawn": ids_of(TokenLoader(odd_batches(uri), num_workers=1, multiprocessing_context="spawn")),
        "loader": ids_of(DataLoader(batches, batch_size=None, num_workers=1)),
        "given": ids_of(odd_batches(uri, rank=1 - rank, world_size=4)),
    }
    dist.barrier()
    dist.destroy_process_group()
    with open(f"{place}/{rank}.json", "w") as file:
        json.dump(told, file)

if __name__ == "__main__":
    mp.start_processes(run, args=tuple(sys.argv[1:]), nprocs=2, start_method="fork")
"""


@pytest.mark.slow
def test_ranks_and_their_workers_together_have_the_batches_of_one_process(tmp_path):
    uri = str(tmp_path / "tokens")
    write_odd_dataset(uri)
    (tmp_path / "ranks.py").write_text(_RANKS)
    done = ended(script(tmp_path / "ranks.py", uri, str(tmp_path), extra=WITH_TESTS))
    assert done.code == 0, done.err
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    expected = ids_of(odd_batches(uri))
    for way in ("plain", "fork", "spawn", "loader"):
        together = [one + other for one, other in zip(ranks[0][way], ranks[1][way], strict=True)]
        assert together == expected, way
    assert ranks[0]["given"] == [batch[3:6] for batch in expected]
    assert ranks[1]["given"] == [batch[:3] for batch in expected]
