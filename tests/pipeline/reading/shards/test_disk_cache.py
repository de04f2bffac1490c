"""Ranges kept on a disk: within their bound, the least recently read go first, many may share a folder."""

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.shards.disk_cache import ChunkCache
from bitmill.schemas.errors import TransientError, UsageError
from tests.support.forked import context


def content(name: str, size: int) -> bytes:
    return (name.encode() * size)[:size]


def got(cache: ChunkCache, name: str, size: int) -> bool:
    """Whether a range came from the disk; what came is right either way."""
    fetched: list[str] = []

    def fetch() -> bytes:
        fetched.append(name)
        return content(name, size)

    assert cache.get(name, size, fetch) == content(name, size)
    return not fetched


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.exists() else 0


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache" / "below"


def test_what_was_fetched_is_kept(folder):
    cache = ChunkCache(folder, 1000)
    assert not got(cache, "a", 100)
    assert got(cache, "a", 100)
    assert got(ChunkCache(folder, 1000), "a", 100)
    assert [path.name for path in folder.iterdir()] == ["a-100.range"]


def test_the_least_recently_read_goes_first(folder):
    # Each entry has four bytes of checksum.
    cache = ChunkCache(folder, 1040)
    for number, name in enumerate("abcdefgh"):
        got(cache, name, 100)
        os.utime(folder / f"{name}-100.range", (number, number))
    # Read, and so the newest.
    assert got(cache, "a", 100)
    for name in "ijk":
        got(cache, name, 100)
    assert [name for name in "abcdefghijk" if (folder / f"{name}-100.range").exists()] == list("adefghijk")


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 1100)), max_size=60),
    st.integers(100, 1000),
)
def test_the_bound_is_kept_at_every_moment(tmp_path_factory, reads, most):
    folder = tmp_path_factory.mktemp("bounded")
    cache = ChunkCache(folder, most)
    for letter, size in reads:
        got(cache, f"{letter}{size}", size)
        assert held(folder) <= most


def test_a_range_that_takes_all_the_room_is_not_kept(folder):
    cache = ChunkCache(folder, 1000)
    got(cache, "small", 100)
    assert not got(cache, "large", 950)
    assert not got(cache, "large", 950)
    assert got(cache, "small", 100)


def test_what_others_left_counts(folder):
    folder.mkdir(parents=True)
    (folder / "old.range").write_bytes(bytes(800))
    (folder / ".0123456789abcdef.part").write_bytes(bytes(150))
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    got(ChunkCache(folder, 1000), "a", 100)
    assert held(folder) <= 1000
    got(ChunkCache(folder, 150), "b", 100)
    assert sorted(path.name for path in folder.iterdir()) == ["b-100.range"]


def test_an_entry_without_all_its_bytes_is_fetched_again(folder):
    cache = ChunkCache(folder, 1000)
    got(cache, "a", 100)
    (folder / "a-100.range").write_bytes(b"")
    assert not got(cache, "a", 100)
    assert got(cache, "a", 100)


def test_an_entry_that_the_disk_damaged_is_fetched_again(folder):
    cache = ChunkCache(folder, 1000)
    got(cache, "a", 100)
    path = folder / "a-100.range"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    assert not got(cache, "a", 100)
    assert got(cache, "a", 100)


def test_an_answer_that_is_too_short_is_not_kept(folder):
    cache = ChunkCache(folder, 1000)
    assert cache.get("a", 100, lambda: b"short") == b"short"
    assert not got(cache, "a", 100)


def test_entries_and_the_folder_may_be_removed_by_others(folder):
    cache = ChunkCache(folder, 1000)
    got(cache, "a", 100)
    (folder / "a-100.range").unlink()
    assert not got(cache, "a", 100)
    shutil.rmtree(folder)
    assert not got(cache, "a", 100)
    assert got(cache, "a", 100)


def test_what_fetching_raises_passes_and_leaves_nothing(folder):
    def fetch() -> bytes:
        raise TransientError("the store does not answer")

    with pytest.raises(TransientError, match="does not answer"):
        ChunkCache(folder, 1000).get("a", 10, fetch)
    assert held(folder) == 0


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=rf"The cache {folder} is not writable .*another folder"):
            got(ChunkCache(folder, 1000), "a", 10)


def test_threads_share_a_cache_within_its_bound(folder):
    cache = ChunkCache(folder, 2000)

    def work(thread: int) -> None:
        for step in range(60):
            got(cache, f"r{(thread * 7 + step) % 40}", 100)
            assert held_at_once(folder) <= 2000

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def held_at_once(folder: Path) -> int:
    """Bytes of a folder in which files come and go."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _read_much(cache: ChunkCache, process: int) -> None:
    for step in range(150):
        got(cache, f"r{(process * 11 + step * 3) % 50}", 100)


def test_two_processes_share_a_folder(folder):
    """Each gets what is right, and the folder stays within the bound and a tenth for the second process."""
    cache = ChunkCache(folder, 2000)
    others = [context().Process(target=_read_much, args=(cache, number)) for number in range(2)]
    for other in others:
        other.start()
    _read_much(cache, 2)
    for other in others:
        other.join(120)
        assert other.exitcode == 0
    assert held(folder) <= 2000 * 1.2
    assert all(path.suffix == ".range" for path in folder.iterdir())


def test_a_cache_pickles(folder):
    cache = ChunkCache(folder, 1000)
    got(cache, "a", 100)
    assert got(pickle.loads(pickle.dumps(cache)), "a", 100)
