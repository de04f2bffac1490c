"""Laws of a pass and its batches: each sample once, ranks tile a batch, batch t depends on t alone."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.order.batch_plan import (
    BatchPlan,
    MixturePlan,
    Passes,
    Share,
    Take,
    num_alike,
    num_batches,
    plan_epoch,
)
from bitmill.pipeline.reading.order.epoch_order import PassOrder, choose_lanes, order_pass
from bitmill.pipeline.reading.order.mixture_weights import thresholds
from bitmill.pipeline.splitmix64 import derive_key

GROUPS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=12)
"""Samples and bytes of codes of each row group."""
SEEDS = st.integers(0, 2**32)
REMAINDERS = st.sampled_from(["drop", "pad", "keep"])


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


BATCHES = st.integers(1, 24).flatmap(
    lambda size: st.tuples(st.just(size), st.sampled_from(divisors(size)), st.sampled_from(divisors(size)))
)
"""Batch size, and divisors of it as lanes and as world size."""


def make_order(groups, *, lanes: int, window_bytes: int = 50, key: int = 1, shuffle: bool = True, **more):
    samples, codes_bytes = np.array(groups, np.int64).reshape(-1, 2).T
    return order_pass(
        samples, codes_bytes, key=key, shuffle=shuffle, lanes=lanes, window_bytes=window_bytes, **more
    )


def samples_of(order: PassOrder, groups, window: int) -> list[tuple[int, int]]:
    """A window's samples in the pass's order, as row groups and numbers in them."""
    held = [(group, number) for group in order.groups_of(window) for number in range(groups[group][0])]
    return [held[number] for number in order.samples_of(window)]


def batch_of(takes: list[Take], order: PassOrder, groups) -> list[tuple[tuple[int, int], bool]]:
    """A share's samples and whether they are valid, by place. Places are taken once, without gaps."""
    placed = {}
    for take in takes:
        held = samples_of(order, groups, take.window)
        for number in range(take.num_samples):
            assert take.place + number not in placed
            placed[take.place + number] = (held[take.first + number], take.valid)
    assert sorted(placed) == list(range(len(placed)))
    return [placed[place] for place in range(len(placed))]


def shares(batch_size: int, world_size: int) -> list[Share]:
    count = batch_size // world_size
    return [Share(batch_size=batch_size, first=rank * count, count=count) for rank in range(world_size)]


@given(GROUPS, SEEDS, st.integers(1, 120), st.booleans(), st.integers(1, 6))
def test_windows_tile_the_row_groups_that_have_samples(groups, key, window_bytes, shuffle, lanes):
    order = make_order(groups, key=key, window_bytes=window_bytes, shuffle=shuffle, lanes=lanes)
    used = [number for number, (samples, _) in enumerate(groups) if samples]
    windows = [order.groups_of(window).tolist() for window in range(order.num_windows)]
    flat = [group for window in windows for group in window]
    assert sorted(flat) == used
    assert order.num_samples == sum(groups[group][0] for group in used)
    for window, own in enumerate(windows):
        assert own
        assert order.ends[window + 1] - order.ends[window] == sum(groups[group][0] for group in own)
        assert sorted(order.samples_of(window)) == list(range(order.ends[window + 1] - order.ends[window]))
        # A window is as many bytes as were asked for, up to the row group that crosses the bound.
        assert len(own) == 1 or sum(groups[group][1] for group in own[:-1]) <= window_bytes
    if not shuffle:
        assert windows == [[group] for group in used]


@given(GROUPS, SEEDS, st.integers(1, 8))
def test_lanes_tile_the_pass_evenly(groups, key, lanes):
    order = make_order(groups, key=key, lanes=lanes)
    bounds = order.lane_bounds
    assert (bounds[0][0], bounds[-1][1], len(bounds)) == (0, order.num_samples, lanes)
    assert all(end == start for (_, end), (start, _) in pairwise(bounds))
    lengths = [end - start for start, end in bounds]
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(1, 300), st.lists(st.integers(1, 10**6), max_size=5), st.integers(1, 10**8))
def test_chosen_lanes_divide_the_batch_and_fit_the_memory(batch_size, codes_bytes, window_bytes):
    lanes = choose_lanes(batch_size, np.array(codes_bytes, np.int64), window_bytes)
    assert batch_size % lanes == 0
    mean = np.mean(codes_bytes) if codes_bytes else 1
    assert lanes == 1 or lanes * mean <= window_bytes * (1 + 1e-9)
    finer = [number for number in divisors(batch_size) if number > lanes]
    assert not finer or finer[0] * mean > window_bytes * (1 - 1e-9)


@given(GROUPS, SEEDS, BATCHES, REMAINDERS, st.booleans())
def test_every_sample_comes_once_an_epoch(groups, key, batches, remainder, shuffle):
    batch_size, lanes, _ = batches
    order = make_order(groups, key=key, lanes=lanes, shuffle=shuffle)
    (share,) = shares(batch_size, 1)
    total = num_batches(order.num_samples, batch_size, remainder)
    epoch = [batch_of(plan_epoch(order, 0, batch, share, remainder), order, groups) for batch in range(total)]
    seen = Counter(sample for batch in epoch for sample, valid in batch if valid)
    assert max(seen.values(), default=1) == 1
    sizes = [len(batch) for batch in epoch]
    if remainder == "drop":
        assert order.num_samples - len(seen) == order.num_samples % batch_size
    else:
        assert len(seen) == order.num_samples
    if remainder != "keep":
        assert sizes == [batch_size] * total
    else:
        assert sizes[:-1] == [batch_size] * max(0, total - 1)
        assert all(valid for batch in epoch for _, valid in batch)


@given(GROUPS, SEEDS, BATCHES, REMAINDERS, st.booleans())
def test_batches_that_are_alike_differ_by_the_samples_ahead(groups, key, batches, remainder, shuffle):
    batch_size, lanes, world_size = batches
    order = make_order(groups, key=key, lanes=lanes, shuffle=shuffle, window_bytes=400)
    total = num_batches(order.num_samples, batch_size, remainder)
    for share in shares(batch_size, world_size):
        batch = 0
        while batch < total:
            takes = plan_epoch(order, 0, batch, share, remainder)
            alike = num_alike(order, takes, share)
            for more in range(min(alike, total - batch)):
                plan = BatchPlan(takes, ahead=more * (batch_size // order.lanes))
                assert plan.now == plan_epoch(order, 0, batch + more, share, remainder)
            batch += alike


@given(GROUPS, SEEDS, BATCHES, REMAINDERS, st.booleans())
def test_ranks_shares_are_together_the_batch(groups, key, batches, remainder, shuffle):
    batch_size, lanes, world_size = batches
    order = make_order(groups, key=key, lanes=lanes, shuffle=shuffle)
    (alone,) = shares(batch_size, 1)
    for batch in range(num_batches(order.num_samples, batch_size, remainder)):
        whole = batch_of(plan_epoch(order, 0, batch, alone, remainder), order, groups)
        parts = [
            batch_of(plan_epoch(order, 0, batch, share, remainder), order, groups)
            for share in shares(batch_size, world_size)
        ]
        assert [sample for part in parts for sample in part] == whole
        if remainder != "keep":
            assert {len(part) for part in parts} == {batch_size // world_size}


@given(GROUPS, SEEDS, BATCHES)
def test_what_fills_up_a_batch_is_not_valid_and_of_the_same_epoch(groups, key, batches):
    batch_size, lanes, _ = batches
    order = make_order(groups, key=key, lanes=lanes)
    (share,) = shares(batch_size, 1)
    total = num_batches(order.num_samples, batch_size, "pad")
    every = {sample for window in range(order.num_windows) for sample in samples_of(order, groups, window)}
    filling = [
        sample
        for batch in range(total)
        for sample, valid in batch_of(plan_epoch(order, 0, batch, share, "pad"), order, groups)
        if not valid
    ]
    assert len(filling) == total * batch_size - order.num_samples
    assert set(filling) <= every


@given(GROUPS, BATCHES, REMAINDERS)
def test_unshuffled_is_the_datasets_order(groups, batches, remainder):
    batch_size = batches[0]
    order = make_order(groups, lanes=1, shuffle=False)
    (share,) = shares(batch_size, 1)
    read = [
        sample
        for batch in range(num_batches(order.num_samples, batch_size, remainder))
        for sample, valid in batch_of(plan_epoch(order, 0, batch, share, remainder), order, groups)
        if valid
    ]
    every = [(group, number) for group, (samples, _) in enumerate(groups) for number in range(samples)]
    assert read == every[: len(read)]


@given(GROUPS, SEEDS, BATCHES)
def test_a_lane_never_goes_back_to_a_window(groups, key, batches):
    """Whoever reads keeps the windows of the last batch only."""
    batch_size, lanes, _ = batches
    order = make_order(groups, key=key, lanes=lanes)
    (share,) = shares(batch_size, 1)
    reached: dict[int, int] = {}
    for batch in range(num_batches(order.num_samples, batch_size, "drop")):
        for take in plan_epoch(order, 0, batch, share, "drop"):
            assert take.lane == take.place * lanes // batch_size
            assert take.window >= reached.get(take.lane, 0)
            reached[take.lane] = take.window


@given(GROUPS, SEEDS, st.integers(1, 6))
def test_a_pass_is_a_function_of_its_key(groups, key, lanes):
    order, again = (make_order(groups, key=key, lanes=lanes) for _ in range(2))
    assert np.array_equal(order.groups, again.groups)
    assert np.array_equal(order.ends, again.ends)
    for window in reversed(range(order.num_windows)):
        assert np.array_equal(order.samples_of(window), again.samples_of(window))


def test_epochs_have_unrelated_orders():
    groups = [(8, 10)] * 12
    firsts = [make_order(groups, key=derive_key(0, 0, epoch), lanes=1) for epoch in range(4)]
    assert len({tuple(order.groups.tolist()) for order in firsts}) == 4
    assert len({tuple(order.samples_of(0).tolist()) for order in firsts}) == 4


# Mixtures

STREAMS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=8),
        st.floats(0.1, 10),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
"""Row groups of each dataset, its weight, and whether its passes have all the same number of samples."""


def passes_of(streams, *, lanes: int, seed: int) -> list[Passes]:
    """Orders of passes; where they are not alike, a window gives a number that depends on its groups."""

    def make(number: int, stream: int):
        groups, _, alike = streams[stream]

        def packed(window):
            return max(1, sum(groups[group][0] for group in window) * 2 // 3)

        return make_order(
            groups,
            key=derive_key(seed, stream, number),
            lanes=lanes,
            count_window=None if alike else packed,
        )

    return [
        Passes(lambda number, stream=stream: make(number, stream), alike=alike)
        for stream, (_, _, alike) in enumerate(streams)
    ]


def mixture(streams, *, lanes: int, seed: int) -> MixturePlan | None:
    """The plan; null where a lane of a dataset would be empty, which TokenBatches refuses."""
    passes = passes_of(streams, lanes=lanes, seed=seed)
    if any(one.order(number).num_samples < lanes for one in passes for number in range(12)):
        return None
    ends = thresholds([weight for _, weight, _ in streams])
    return MixturePlan(passes, ends, key=derive_key(seed, -1), lanes=lanes)


def positions_of(take: Take, passes: list[Passes]) -> list[tuple[int, int]]:
    """A take's samples as passes and positions in them."""
    order = passes[take.stream].order(take.pass_number)
    first = int(order.ends[take.window]) + take.first
    assert take.first + take.num_samples <= order.ends[take.window + 1] - order.ends[take.window]
    return [(take.pass_number, first + number) for number in range(take.num_samples)]


@settings(max_examples=40)
@given(STREAMS, BATCHES, SEEDS, st.integers(1, 12))
def test_each_lane_of_each_stream_goes_from_pass_to_pass(streams, batches, seed, num):
    batch_size, lanes, _ = batches
    plan = mixture(streams, lanes=lanes, seed=seed)
    if plan is None:
        return
    (share,) = shares(batch_size, 1)
    passes = passes_of(streams, lanes=lanes, seed=seed)
    read: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for batch in range(num):
        places = []
        for take in plan.plan(batch, share):
            assert take.valid
            places += range(take.place, take.place + take.num_samples)
            assert take.lane == take.place * lanes // batch_size
            read.setdefault((take.stream, take.lane), []).extend(positions_of(take, passes))
        assert sorted(places) == list(range(batch_size))
    for (stream, lane), positions in read.items():
        expected: list[tuple[int, int]] = []
        number = 0
        while len(expected) < len(positions):
            start, end = passes[stream].order(number).lane_bounds[lane]
            expected += [(number, position) for position in range(start, end)]
            number += 1
        assert positions == expected[: len(positions)]


@settings(max_examples=40)
@given(STREAMS, BATCHES, SEEDS, st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_a_mixtures_batch_depends_on_its_number_alone(streams, batches, seed, numbers):
    batch_size, lanes, world_size = batches
    plan = mixture(streams, lanes=lanes, seed=seed)
    if plan is None:
        return
    passes = passes_of(streams, lanes=lanes, seed=seed)

    def samples(takes: list[Take]) -> list[tuple[int, int, int]]:
        return [(take.stream, *position) for take in takes for position in positions_of(take, passes)]

    (alone,) = shares(batch_size, 1)
    for batch in numbers:
        fresh = mixture(streams, lanes=lanes, seed=seed)
        assert fresh is not None
        whole = fresh.plan(batch, alone)
        assert plan.plan(batch, alone) == whole
        parts = [samples(plan.plan(batch, share)) for share in shares(batch_size, world_size)]
        assert [sample for part in parts for sample in part] == samples(whole)


@settings(max_examples=40)
@given(STREAMS, BATCHES, SEEDS)
def test_a_mixture_keeps_its_weights(streams, batches, seed):
    batch_size, lanes, _ = batches
    plan = mixture(streams, lanes=lanes, seed=seed)
    if plan is None:
        return
    (share,) = shares(batch_size, 1)
    counts = np.zeros(len(streams))
    num = -(-200 // batch_size)
    for batch in range(num):
        for take in plan.plan(batch, share):
            counts[take.stream] += take.num_samples
    weights = np.array([weight for _, weight, _ in streams])
    shared = num * batch_size * weights / weights.sum()
    # Each lane keeps to its share within the discrepancy of its own number of places.
    bound = 2 * (3 + np.log(num * batch_size / lanes) / (2 * np.log((1 + 5**0.5) / 2)))
    assert np.all(np.abs(counts - shared) <= lanes * bound)
