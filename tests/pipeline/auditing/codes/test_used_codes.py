"""The count of used codes: exact where a map can be, else a sketch within the error that it states."""

import pickle

import numpy as np
import pytest

from bitmill.pipeline.auditing.codes.used_codes import UsedCodes


def counted(codes, bits: int) -> UsedCodes:
    used = UsedCodes(bits)
    used.add(np.asarray(codes, np.uint64)[None])
    return used


@pytest.mark.parametrize("bits", [1, 5, 6, 7, 18, 24])
def test_the_map_counts_every_code_once(bits):
    random = np.random.default_rng(bits)
    codes = random.integers(0, 1 << bits, 1000)
    codes = np.concatenate((codes, codes[:100], [0, (1 << bits) - 1]))
    used = counted(codes, bits)
    assert (used.count, used.relative_error) == (len(np.unique(codes)), 0)


def test_all_codes_are_counted():
    assert counted(np.arange(1 << 18), 18).count == 1 << 18


@pytest.mark.parametrize("distinct", [0, 1, 100, 20_000, 300_000, 3_000_000])
def test_the_sketch_keeps_to_its_error(distinct):
    errors = []
    for seed in range(6):
        # Consecutive codes are the most regular there are; each comes twice.
        codes = np.arange(distinct, dtype=np.uint64) + np.uint64(seed << 40)
        used = counted(np.concatenate((codes, codes[: distinct // 2])), 64)
        errors.append(used.count / max(distinct, 1) - (distinct > 0))
    assert 0 < used.relative_error < 0.005
    assert np.sqrt(np.mean(np.square(errors))) <= 1.6 * used.relative_error
    assert max(map(abs, errors)) <= 4 * used.relative_error


@pytest.mark.parametrize("bits", [18, 40])
def test_merging_gives_what_all_codes_together_give(bits):
    codes = np.random.default_rng(0).integers(0, 1 << bits, 5000, dtype=np.uint64)
    merged = counted(codes[3000:], bits)
    merged.merge(pickle.loads(pickle.dumps(counted(codes[:4000], bits))))
    assert merged.count == counted(codes, bits).count
