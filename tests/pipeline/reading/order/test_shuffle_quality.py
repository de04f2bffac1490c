"""How well an order mixes: against counting by hand, and what in order and a uniform shuffle come to."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading import FrameWindows, Padding, TokenBatches, TokenDataset
from bitmill.pipeline.reading.order.batch_plan import Share, plan_epoch
from bitmill.pipeline.reading.order.epoch_order import order_pass
from bitmill.pipeline.reading.order.shuffle_quality import Mixing, measure_mixing
from bitmill.schemas.errors import UsageError
from tests.support.token_datasets import store_dataset


def pass_over(samples: list[int], *, shuffle: bool, lanes: int = 1, window_bytes: int = 10):
    counts = np.array(samples, np.int64)
    return order_pass(counts, 10 * counts, key=5, shuffle=shuffle, lanes=lanes, window_bytes=window_bytes)


def counted(order, samples: list[int], batch_size: int) -> tuple[float, float]:
    """Row groups of a batch on average, and the share of batches between a row group's first and last."""
    share = Share(batch_size=batch_size, first=0, count=batch_size)
    num_batches = order.num_samples // batch_size
    batches: list[set[int]] = []
    for batch in range(num_batches):
        groups: set[int] = set()
        for take in plan_epoch(order, 0, batch, share, "drop"):
            own = [group for group in order.groups_of(take.window) for _ in range(samples[group])]
            numbers = order.samples_of(take.window)[take.first : take.first + take.num_samples]
            groups |= {own[number] for number in numbers}
        batches.append(groups)
    spreads = []
    for group in set().union(*batches):
        at = [number for number, groups in enumerate(batches) if group in groups]
        spreads.append(at[-1] - at[0] + 1)
    return float(np.mean([len(groups) for groups in batches])), float(np.mean(spreads)) / num_batches


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=10),
    st.sampled_from([(1, 1), (2, 1), (4, 2), (6, 3)]),
    st.booleans(),
    st.integers(1, 300),
)
def test_both_figures_are_those_of_counting(samples, batch, shuffle, window_bytes):
    batch_size, lanes = batch
    total = sum(samples)
    order = pass_over(samples, shuffle=shuffle, lanes=lanes if shuffle else 1, window_bytes=window_bytes)
    found = measure_mixing(order, np.array(samples, np.int64), batch_size)
    if total < batch_size:
        assert found == Mixing(diversity=0, spread=0)
        return
    groups, spread = counted(order, samples, batch_size)
    # A row group is missed by all that a uniform batch draws from the others.
    uniform = sum(1 - comb(total - count, batch_size) / comb(total, batch_size) for count in samples)
    assert found.diversity == pytest.approx(groups / uniform)
    assert found.spread == pytest.approx(spread)


def test_in_order_a_batch_is_of_one_row_group():
    found = measure_mixing(pass_over([10] * 20, shuffle=False), np.full(20, 10), 10)
    assert found.spread == 1 / 20
    assert found.diversity == pytest.approx(1 / (20 * (1 - comb(190, 10) / comb(200, 10))))


def test_one_window_of_all_is_a_uniform_shuffle():
    found = measure_mixing(pass_over([50] * 40, shuffle=True, window_bytes=10**6), np.full(40, 50), 20)
    assert found.diversity == pytest.approx(1, abs=0.03)
    assert found.spread > 0.9


def test_batches_say_how_well_they_mix(tmp_path):
    store_dataset(tmp_path, [[(1, 2, 2), (2, 2, 2)] * 30] * 2)
    dataset = TokenDataset(tmp_path)
    figures = [
        TokenBatches(dataset, batch_size=6, shape=Padding(), shuffle=shuffle, window_bytes=10**6).mixing()
        for shuffle in (False, True)
    ]
    assert figures[0].diversity < 0.5 < 0.9 < figures[1].diversity
    assert figures[0].spread < 0.2 < 0.6 < figures[1].spread


def test_what_is_not_measured_is_refused(tmp_path):
    store_dataset(tmp_path, [[(1, 2, 2)] * 6])
    dataset = TokenDataset(tmp_path)
    for data, shape in ((dataset, FrameWindows(1)), ([(dataset, 1.0)], None)):
        with pytest.raises(UsageError, match=r"mixing\(\) needs one dataset and whole clips"):
            TokenBatches(data, batch_size=2, shape=shape).mixing()
