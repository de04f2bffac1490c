"""What goes wrong in reading reaches the training loop, and names the place; nothing hangs or lingers."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bitmill.pipeline.reading import TokenBatches, TokenDataset, TokenLoader
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError
from tests.support.commands import ended, script, wait_until
from tests.support.random_datasets import write_dataset

_ENDED_S = 60


@pytest.fixture
def long(tmp_path) -> TokenBatches:
    """Many batches, each from several small windows."""
    write_dataset(str(tmp_path), [[(4, 8, 8)] * 200] * 3)
    dataset = TokenDataset(tmp_path, view="groups", group_bits=9)
    return TokenBatches(dataset, batch_size=8, shuffle=True, window_bytes=16_384)


def _damaged(folder: Path) -> str:
    """A dataset of three shards, the last of which has a flipped bit in its codes; that shard's id."""
    shards = write_dataset(str(folder), [[(4, 8, 8)] * 40] * 3)
    codes = TokenDataset(folder, view="packed")[119]["tokens"].numpy().tobytes()
    path = folder / shard_file(shards[2].shard_id)
    data = bytearray(path.read_bytes())
    data[data.index(codes) + 7] ^= 4
    path.write_bytes(data)
    return shards[2].shard_id


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_damaged_shard_is_named_in_the_training_loop(tmp_path, num_workers):
    shard_id = _damaged(tmp_path)
    batches = TokenBatches(TokenDataset(tmp_path), batch_size=10, window_bytes=4096)
    loader = TokenLoader(batches, num_workers=num_workers)
    with pytest.raises(FormatError, match=rf"{shard_id}\.parquet is damaged in row group \d+: a page"):
        list(loader)
    # All that comes before was handed over, and the state stands before what could not be.
    assert loader.state_dict()["batch"] == 11


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["codes", "columns", "gone"])
def test_a_damaged_shard_that_is_skipped_leaves_the_others(tmp_path, damage):
    shard_id = _damaged(tmp_path)
    whole = TokenDataset(tmp_path, skip_damaged=True, columns=("clip_id", "start_ns"))
    path = tmp_path / shard_file(shard_id)
    if damage == "columns":
        # Row groups are whole; what says where their columns stand is not.
        path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    elif damage == "gone":
        path.unlink()
    batches = list(TokenLoader(TokenBatches(whole, batch_size=10), num_workers=2))
    assert len(batches) == 12
    valid = torch.cat([batch["valid"] for batch in batches])
    assert valid[:80].all()
    assert 0 < int((~valid).sum()) <= 40
    assert int(valid.sum()) == len(list(whole))
    assert damage == "codes" or not valid[80:].any()


KILL_ONE = """
import os, re, signal, sys
import torch
from bitmill.pipeline.reading import TokenBatches, TokenDataset, TokenLoader

dataset = TokenDataset(sys.argv[1], view="groups", group_bits=9)
batches = TokenBatches(dataset, batch_size=8, shuffle=True, window_bytes=16_384)
loader = TokenLoader(batches, num_workers=2, timeout=int(sys.argv[2]), prefetch_factor=1)
iterator = iter(loader)
next(iterator)
workers = torch.multiprocessing.active_children()
TOLD = "DataLoader (worker .*(killed by signal|exited unexpectedly|ended while it handed)|timed out)"
told = 0
try:
    # The signal of its death may come at once, on this very line.
    os.kill(workers[0].pid, signal.SIGKILL)
    list(iterator)
except RuntimeError as error:
    assert re.search(TOLD, str(error)), error
    told += 1
try:
    # Or after torch has failed on its socket.
    workers[0].join()
except RuntimeError as error:
    assert re.search(TOLD, str(error)), error
    told += 1
assert told, "nobody missed the worker"
# It goes on from there with new workers.
state = loader.state_dict()
del iterator
loader.load_state_dict(state)
print(len(workers), state["batch"], len(list(loader)), len(loader))
"""


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [0, 30])
def test_a_killed_worker_is_an_error_and_no_hang(tmp_path, timeout):
    # In a process of its own: torch's signal handler raises for such a worker wherever the main thread is.
    write_dataset(str(tmp_path / "tokens"), [[(4, 8, 8)] * 200] * 3)
    (tmp_path / "kill_one.py").write_text(KILL_ONE)
    done = ended(script(tmp_path / "kill_one.py", str(tmp_path / "tokens"), str(timeout)))
    assert done.code == 0, done.err
    workers, reached, rest, whole = map(int, done.out.split())
    assert workers == 2
    assert 1 <= reached < whole
    assert rest == whole - reached


def _own_threads() -> Iterator[threading.Thread]:
    return (thread for thread in threading.enumerate() if thread.name.startswith("bitmill"))


@pytest.mark.parametrize("way", ["break", "del", "close", "error", "end"])
def test_an_iteration_that_is_over_leaves_no_threads(long, way):
    iterator = iter(long)
    next(iterator)
    assert any(_own_threads())
    if way == "del":
        del iterator
    elif way == "close":
        iterator.close()
    elif way == "error":
        with pytest.raises(ZeroDivisionError, match="modulo by zero"):
            _fail_in_loop(iterator)
        del iterator
    elif way == "end":
        list(iterator)
    else:
        for _ in iterator:
            break
        del iterator
    wait_until(lambda: not any(_own_threads()), "the reader's threads to end", _ENDED_S)


def _fail_in_loop(iterator: Iterator[object]) -> None:
    for number, _ in enumerate(iterator):
        _ = 1 // (number - 2)
