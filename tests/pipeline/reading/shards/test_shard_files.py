"""Files of shards: few are open in all, none for a dataset that is gone, and none is another's."""

import gc
from pathlib import Path

import numpy as np
import pytest

from bitmill.pipeline.reading import Padding, TokenBatches, TokenDataset
from tests.support.token_datasets import StoredDataset, store_dataset

_ODD = (1, 2, 2)


def open_in(folder: Path) -> int:
    """How many files under a folder this process has open."""
    gc.collect()
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += link.readlink().is_relative_to(folder)
        except FileNotFoundError:
            continue
    return found


def stored_in(folder: Path, number: int) -> list[StoredDataset]:
    return [store_dataset(folder / str(own), [[_ODD]] * 6, seed=own) for own in range(number)]


@pytest.mark.slow
def test_open_files_are_bounded_for_all_datasets_together(tmp_path, monkeypatch):
    monkeypatch.setattr("bitmill.pipeline.reading.shards.shard_files._MOST_OPEN", 8)
    folders = [one.folder for one in stored_in(tmp_path, 4)]
    datasets = [TokenDataset(folder) for folder in folders]
    batches = [
        TokenBatches(TokenDataset(folders), batch_size=2, shape=Padding(), shuffle=True),
        TokenBatches([(one, 1.0) for one in datasets], batch_size=2, shape=Padding(), shuffle=True, lanes=1),
    ]
    for _ in range(2):
        for one in batches:
            assert sum(len(batch["tokens"]) for batch in one) == 24
            assert open_in(tmp_path) <= 8
        for dataset in datasets:
            assert len([dataset[number] for number in range(6)]) == 6
            assert 1 <= open_in(tmp_path) <= 8


@pytest.mark.slow
def test_files_of_a_dataset_that_is_gone_are_closed(tmp_path):
    (stored,) = stored_in(tmp_path, 1)
    dataset = TokenDataset(stored.folder)
    list(dataset)
    assert open_in(tmp_path) == 6
    del dataset
    assert open_in(tmp_path) == 0


def test_a_dataset_that_was_written_anew_is_not_read_from_files_of_the_old(tmp_path):
    (stored,) = stored_in(tmp_path, 1)
    old = TokenDataset(stored.folder)
    first = old[0]["tokens"].clone()
    data = bytearray(stored.path(0).read_bytes())
    codes = stored.clips[0].codes
    data[data.index(len(codes).to_bytes(4, "little") + codes) + 4] ^= 1
    stored.path(0).unlink()
    stored.path(0).write_bytes(data)
    new = TokenDataset(stored.folder)
    assert int(np.count_nonzero(new[0]["tokens"].numpy() != first.numpy())) == 1
