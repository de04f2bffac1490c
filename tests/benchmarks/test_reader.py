"""The benchmark of readers: what contenders give back is what was stored, and wrong tokens are noticed."""

import json

import numpy as np
import pytest
import torch

from benchmarks.reader.contender import load_contender
from benchmarks.reader.corpus import SHAPE_THW, make_corpus, open_corpus
from benchmarks.reader.measuring import WrongTokensError, check
from benchmarks.reader.mixing import mixing
from tests.support.commands import bitmill, run_module

_NUM_CLIPS = 210
_MODES = {
    "ours": ("sequential", "shuffled", "clips"),
    "parquet": ("sequential", "shuffled", "clips"),
    "uint32": ("sequential", "shuffled", "clips"),
    "packed": ("sequential", "shuffled", "clips"),
    "webdataset": ("sequential", "shuffled"),
}
"""Contenders that need no package of their own."""


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.bin"
    make_corpus(path, _NUM_CLIPS)
    return path


@pytest.mark.parametrize("name", _MODES)
def test_a_contender_gives_back_what_it_stored(name, corpus, tmp_path):
    folder, cache = tmp_path / name, tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    contender = load_contender(name)
    contender.write(corpus, folder)
    opened = contender(str(folder), batch_size=64, cache=cache)
    for mode in _MODES[name]:
        check(opened, mode, corpus)
    ideal = _NUM_CLIPS * 4096 * 18 / 8
    assert ideal <= contender.stored_bytes(folder) <= 2.1 * ideal


class _Altered:
    """Stands before a store of clips; gives other batches than it should."""

    def __init__(self, corpus, alter) -> None:
        self._clips = torch.from_numpy(open_corpus(corpus).astype("int64")).view(-1, *SHAPE_THW)
        self._alter = alter

    def batches(self, *, shuffled: bool, epoch: int):
        order = torch.randperm(_NUM_CLIPS) if shuffled else torch.arange(_NUM_CLIPS)
        return iter([self._alter(self._clips[order])])

    def clip(self, number: int):
        return self._alter(self._clips[number : number + 1])[0]


def _flip_a_bit(clips):
    changed = clips.clone()
    changed[-1, 3, 2, 1] ^= 4
    return changed


@pytest.mark.parametrize(
    ("mode", "alter", "said"),
    [
        ("sequential", lambda clips: clips.flip(0), "the order is not what was asked for"),
        ("sequential", _flip_a_bit, "210 of 210 clips came, 1 never did"),
        ("shuffled", lambda clips: clips[:-1], "209 of 210 clips came, 1 never did"),
        ("shuffled", lambda clips: clips[:1].expand(_NUM_CLIPS, -1, -1, -1), "209 never did"),
        ("clips", _flip_a_bit, "single clips are not those that were stored"),
    ],
)
def test_wrong_tokens_are_noticed(mode, alter, said, corpus):
    with pytest.raises(WrongTokensError, match=said):
        check(_Altered(corpus, alter), mode, corpus)


def test_mixing_tells_order_from_a_uniform_shuffle():
    in_order = np.split(np.arange(4560), range(48, 4560, 48))
    uniform = np.split(np.random.default_rng(1).permutation(4560), range(48, 4560, 48))
    assert mixing(in_order)["diversity"] < 0.15
    assert mixing(in_order)["spread"] < 0.15
    assert mixing(uniform) == pytest.approx({"diversity": 1, "spread": 1}, abs=0.02)


def test_other_types_are_not_batches(corpus):
    with pytest.raises(TypeError, match="a batch is int64"):
        check(_Altered(corpus, lambda clips: clips.to(torch.int32)), "sequential", corpus)


@pytest.mark.slow
def test_the_command_measures_every_way_and_writes_a_complete_dataset(tmp_path):
    words = ["--clips", "210", "--rounds", "1", "--seconds", "0.1", "--contenders", "ours"]
    words += ["--folder", str(tmp_path), "--json", str(tmp_path / "told.json")]
    done = run_module("benchmarks.reader", *words)
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "told.json").read_text())
    assert list(told["contenders"]) == ["ours"]
    for one in told["contenders"].values():
        assert set(one["modes"]) == {"sequential", "shuffled", "clips", "workers"}
        assert all(mode["tokens_per_s"]["median"] > 0 for mode in one["modes"].values())
        assert one["memory"]["peak"] > 0
    assert "| bitmill |" in done.out
    status = bitmill("status", str(tmp_path / "210-clips" / "ours"))
    assert status.code == 0, status.err
    assert "complete" in status.out
    assert "860,160 tokens" in status.out


@pytest.mark.slow
def test_buckets_are_measured_against_windows_of_one_grid(tmp_path):
    words = ["--clips", "210", "--rounds", "1", "--seconds", "0.1", "--folder", str(tmp_path)]
    done = run_module("benchmarks.reader.buckets", *words)
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if line.startswith(("| windows", "| buckets"))]
    assert len(lines) == 4
    assert "× windows" in done.out
