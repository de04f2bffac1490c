"""From an object store: the batches of a local folder, by ranges, from a bounded cache, through faults."""

import random
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
import torch

from bitmill.pipeline.reading import (
    ClipFilter,
    DiskCache,
    Packing,
    Padding,
    TokenBatches,
    TokenDataset,
    TokenLoader,
)
from bitmill.pipeline.reading.index.clip_lookup import CLIP_INDEX_FILE
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.reading_index import INDEX_FILE
from tests.support.faulty_store import FAULTS, FaultyStore, faulty_store
from tests.support.random_datasets import Shape, write_dataset

pytestmark = pytest.mark.s3

_SHAPES: list[list[Shape]] = [[(length, 8, 8) for length in (4, 4, 1, 3) * 10] for _ in range(3)]
"""Three shards of 40 clips, of some 16 KiB of codes each, in some 10 row groups."""


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("local") / "tokens")
    write_dataset(uri, _SHAPES)
    return uri


@pytest.fixture
def store(s3, _s3_process, monkeypatch) -> Iterator[tuple[FaultyStore, str]]:
    """The same dataset behind a proxy that counts calls, and its URI."""
    uri = f"{s3}/tokens"
    write_dataset(uri, _SHAPES)
    with faulty_store(_s3_process.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield proxy, uri


def _batches(uri: str, *, cache: DiskCache | None = None, shape: Padding | Packing | None = None):
    dataset = TokenDataset(uri, view="integers", columns=("clip_id", "metadata"), cache=cache)
    return TokenBatches(
        dataset, batch_size=8, shuffle=True, seed=3, shape=shape or Padding(), window_bytes=8192
    )


def _same(ones: list[dict], others: list[dict]) -> None:
    assert len(ones) == len(others) > 0
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert (
                torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
            )


def _shard_calls(proxy: FaultyStore) -> list[str]:
    return [asked for call, asked in zip(proxy.calls, proxy.ranges, strict=True) if "/shards/" in call]


def test_batches_are_those_of_a_local_folder_also_from_workers(local, store):
    """Packed ones, since the tests below have padded ones."""
    _, uri = store
    shape = Packing(600)
    expected = list(_batches(local, shape=shape))
    _same(list(_batches(uri, shape=shape)), expected)
    _same(list(TokenLoader(_batches(uri, shape=shape), num_workers=2)), expected)


def test_only_ranges_of_shards_are_asked_for_each_once(local, store):
    proxy, uri = store
    TokenDataset(uri)
    shard_bytes = [path.stat().st_size for path in Path(local, "shards").iterdir()]
    batches = TokenBatches(TokenDataset(uri), batch_size=8, shuffle=True, shape=Padding(), lanes=1)
    proxy.begin(lambda _: None)
    list(batches)
    asked = [re.fullmatch(r"bytes=(\d+)-(\d+)", one) for one in _shard_calls(proxy)]
    assert all(asked), proxy.ranges
    sizes = [int(one[2]) - int(one[1]) + 1 for one in asked if one]
    assert max(sizes) < min(shard_bytes) / 5
    assert len(sizes) == batches._weighted[0][0].clips.num_groups
    assert sum(sizes) == sum(batches._weighted[0][0].clips.codes_bytes)


def test_opening_with_a_stored_index_reads_two_objects(store):
    proxy, uri = store
    TokenDataset(uri)
    proxy.begin(lambda _: None)
    TokenDataset(uri)
    assert {call.rsplit("/", 1)[-1] for call in proxy.calls} == {"dataset.json", INDEX_FILE}
    assert len(proxy.calls) == 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_cache_spares_the_second_epoch_every_call(store, tmp_path, num_workers):
    proxy, uri = store
    cache = DiskCache(folder=str(tmp_path / "cache"))
    loader = TokenLoader(_batches(uri, cache=cache), num_workers=num_workers)
    first = list(loader)
    assert _shard_calls(proxy)
    proxy.begin(lambda _: None)
    loader.set_epoch(0)
    _same(list(loader), first)
    list(loader)
    assert not proxy.calls


def test_a_cache_keeps_to_its_bound(local, store, tmp_path):
    _, uri = store
    place, bound = tmp_path / "cache", 30_000
    batches = _batches(uri, cache=DiskCache(folder=str(place), max_bytes=bound))
    expected = _batches(local)
    sizes = []
    for _ in range(2):
        for batch, other in zip(batches, expected, strict=True):
            _same([batch], [other])
            sizes.append(_size_of(place))
    assert bound / 2 < max(sizes) <= bound * 1.1


def _size_of(folder: Path) -> int:
    size = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


@pytest.mark.parametrize("seed", [1, 2])
def test_a_fifth_of_all_calls_may_fail(local, store, seed):
    proxy, uri = store
    drawn = random.Random(seed)
    proxy.begin(lambda _: drawn.choice(FAULTS) if drawn.random() < 0.2 else None)
    _same(list(_batches(uri)), list(_batches(local)))
    dataset, near = TokenDataset(uri, columns=("clip_id",)), TokenDataset(local, columns=("clip_id",))
    for index in (0, 77, 119):
        _same([dataset[index]], [near[index]])
    clip_id = near[83]["clip_id"]
    assert dataset.find(clip_id) == 83
    assert dataset.of_source("/media/0002.mp4") == list(range(80, 120))
    assert len(TokenDataset(uri, where=ClipFilter(min_frames=4))) == 60
    assert {"slow_down", "reset_before"} <= set(proxy.injected)
    assert {INDEX_FILE, CLIP_INDEX_FILE} <= Folder(uri).top_names()
